"""``avdetect train``: from videos with labels to a checkpoint."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from avdetect_cli.options import BundleOption, DeviceOption, QuietOption
from avdetect_cli.training import (
    DATA_PANEL,
    LEARNING_PANEL,
    EmbeddingsOption,
    SeedOption,
    SettingsOption,
    check_installed,
    extraction_progress,
    open_encoders,
    parse_settings,
)
from avdetect_cli.values import parse_classes

__all__ = ["train"]

_RUNNING = "Where it runs"


class RecipeName(StrEnum):
    """As in ``avdetect.training.config``, which is too heavy to load for ``--help``."""

    PRODUCT = "product"
    MACIL_SD = "macil-sd"


class Schedule(StrEnum):
    """Which epoch is kept."""

    BEST = "best"
    FIXED = "fixed"


def train(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help="A .csv or .jsonl of videos and labels, a folder with a folder per class, or a .list of features.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where checkpoint, logs and embeddings go.")
    ],
    val: Annotated[
        Path | None,
        typer.Option(
            "--val",
            metavar="MANIFEST",
            help="What to validate on.",
            show_default="the videos of split val, or a fifth of all",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="A,B,C",
            help="The classes, where a misspelt one is to be found.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    embeddings: EmbeddingsOption = None,
    recipe: Annotated[
        RecipeName | None,
        typer.Option("--recipe", help="The method.", show_default="product", rich_help_panel=LEARNING_PANEL),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            "--schedule",
            help="Keep the epoch that validates best, or the last one.",
            show_default="best",
            rich_help_panel=LEARNING_PANEL,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher", metavar="CHECKPOINT", help="A network to learn from as well.", rich_help_panel=LEARNING_PANEL
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Any setting, as TOML; docs/training.md lists them.",
            rich_help_panel=LEARNING_PANEL,
        ),
    ] = None,
    settings: SettingsOption = [],  # noqa: B006 - typer copies it
    seed: SeedOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where training into the same folder ended.", rich_help_panel=_RUNNING),
    ] = False,
    accelerator: Annotated[
        str | None,
        typer.Option(
            "--accelerator", metavar="auto|cpu|gpu", help="What trains.", show_default="auto", rich_help_panel=_RUNNING
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="N|auto",
            help="How many of them, per node.",
            show_default="1",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", metavar="N", min=1, show_default="1", rich_help_panel=_RUNNING)
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", metavar="auto|ddp", help="As Lightning has it.", show_default="auto", rich_help_panel=_RUNNING
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="32-true|16-mixed|bf16-mixed",
            help="Of the arithmetic.",
            show_default="32-true",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Train a detector for your own events, from videos that are labelled as a whole.

    Embeddings are extracted first, where they are not there yet. `avdetect export` makes a bundle of the checkpoint.
    """
    check_installed("torch", "pytorch_lightning", "tensorboard", "safetensors")
    from avdetect.training.config import parse_config
    from avdetect.training.data import read_training_data
    from avdetect.training.recipe import train as run_training
    from avdetect_cli.training_display import TrainingDisplay

    values = _merge(_read_toml(config), parse_settings(settings))
    given = {
        "manifest": manifest,
        "output": output,
        "val_manifest": val,
        "class_names": parse_classes(classes),
        "embeddings": embeddings,
        "teacher": teacher,
        "schedule": None if schedule is None else schedule.value,
        "recipe": None if recipe is None else {"name": recipe.value},
        "run": {
            "seed": seed,
            "accelerator": accelerator,
            "devices": int(devices) if devices is not None and devices.isdecimal() else devices,
            "num_nodes": nodes,
            "strategy": strategy,
            "precision": precision,
            "resume": resume or None,
            "progress": False if quiet or not sys.stderr.isatty() else None,
        },
    }
    values = _merge(values, _without_none(given))
    values["recipe"] = {"name": RecipeName.PRODUCT.value, **values.get("recipe", {})}
    chosen = parse_config(values)
    # Features need no encoders; a mistake in the manifest is found before a bundle is loaded.
    data = read_training_data(chosen.manifest, class_names=chosen.class_names)
    encoders = None if data.has_features else open_encoders(bundle, device)
    display = None if quiet else TrainingDisplay(bar=chosen.run.progress)
    with extraction_progress(enabled=not quiet) as on_extracted, display or nullcontext():
        checkpoint = run_training(chosen, encoders=encoders, on_extracted=on_extracted, observer=display)
        if display is not None:
            display.show_outcome(checkpoint, features=data.has_features)


def _read_toml(path: Path | None) -> dict[str, Any]:
    import tomllib

    from avdetect.errors import UsageError

    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    """What was not given on the command line leaves the config's value."""
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _merge(values: dict[str, Any], stronger: dict[str, Any]) -> dict[str, Any]:
    """``stronger`` over ``values``, section by section."""
    merged = dict(values)
    for key, value in stronger.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged
