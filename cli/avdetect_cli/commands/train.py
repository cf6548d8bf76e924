"""``avdetect train``, ``train-text``, ``train-motion``, ``extract`` and ``compose``: what learns, and what it needs."""

from __future__ import annotations

import sys
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from avdetect.errors import DataError, UsageError
from avdetect.files import read_file
from avdetect_cli import tasks
from avdetect_cli.options import BundleOption, DeviceOption, QuietOption, Split
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.values import check_installed, parse_classes, parse_settings

__all__ = ["EXAMPLES", "compose", "extract", "train", "train_motion", "train_text"]

_DATA = "What is learned from"
_LEARNING = "How it is learned"

EmbeddingsOption = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="DIR",
        help="Where the embeddings of videos and sounds are kept; what is missing is added.",
        show_default="DIR/embeddings",
        rich_help_panel=_DATA,
    ),
]
SettingsOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, as in recipe.hidden_dim=64; may be repeated; docs/training.md and docs/text.md list them.",
        rich_help_panel=_LEARNING,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", min=0, help="The same seed trains the same.", show_default="0", rich_help_panel=_LEARNING
    ),
]
_RUNNING = "Where it runs"

EXAMPLES = {
    "train": """\b
Examples:
  avdetect train videos/ -o run/              a folder per class, one of them called normal
  avdetect train train.csv --val val.csv -o run/
  avdetect train train.csv -o run/ --set recipe.epochs=30 --resume
  avdetect export run/checkpoint.safetensors -o mine/
  avdetect score video.mp4 --bundle mine/
""",
    "train_motion": """\b
Examples:
  avdetect train-motion clips.jsonl -o encoders/ --hold-out-places yard,hall
  avdetect train-motion clips.jsonl -o encoders/ --resume
  avdetect train videos.csv -o run/ --bundle encoders/
  avdetect export run/checkpoint.safetensors --base encoders/ -o mine/
""",
    "train_text": """\b
Examples:
  avdetect train-text sounds.jsonl -o run/
  avdetect train-text sounds.jsonl -o run/ --leave-out siren,glass --set recipe.stage_a_steps=1000
""",
    "compose": """\b
Examples:
  avdetect compose sounds.jsonl -o tracks/
  avdetect compose sounds.jsonl -o tracks/ --split val --tracks 100 --duration 60 --sounds 3 --seed 1
  avdetect compose sounds.jsonl --clips clips.jsonl --events gunshot,scream -o videos/
""",
}
"""What help ends with, by the name of the function."""


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
            metavar="LIST",
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
            metavar="LIST",
            help="The videos to validate on.",
            show_default="the videos of split val, or a fifth of all",
            rich_help_panel=_DATA,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="A,B,C",
            help="The classes to learn; any other in MANIFEST is then a mistake.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    embeddings: EmbeddingsOption = None,
    recipe: Annotated[
        RecipeName | None,
        typer.Option("--recipe", help="The method to train with.", show_default="product", rich_help_panel=_LEARNING),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            "--schedule",
            help="Keep the epoch that validates best, or the last one.",
            show_default="best",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="CHECKPOINT",
            help="A trained network to learn from as well.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="A file of settings in TOML; docs/training.md lists them.",
            rich_help_panel=_LEARNING,
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
            "--accelerator",
            metavar="auto|cpu|gpu",
            help="The kind of device that trains.",
            show_default="auto",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="N|auto",
            help="How many devices train, per node.",
            show_default="1",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes", metavar="N", min=1, help="How many machines train.", show_default="1", rich_help_panel=_RUNNING
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="auto|ddp",
            help="How several devices work together, as Lightning calls it.",
            show_default="auto",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="32-true|16-mixed|bf16-mixed",
            help="The precision of the arithmetic.",
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
    check_outputs({}, folders={"-o": output}, with_parents=True)
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
    tasks.training.train(values, bundle=bundle, device=device, quiet=quiet)


def train_text(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="LIST", help="A .jsonl or .csv of recordings and texts (docs/text.md)."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where checkpoint and logs go.")],
    embeddings: EmbeddingsOption = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            "--text-encoder",
            metavar="FOLDER|NAME",
            help="A sentence-transformers model: a folder, or its name on the Hugging Face hub.",
            show_default="all-MiniLM-L6-v2",
            rich_help_panel=_DATA,
        ),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            "--leave-out",
            metavar="A,B,C",
            help="Classes not to learn from, to see what is made of the unknown.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    settings: SettingsOption = [],  # noqa: B006 - typer copies it
    seed: SeedOption = None,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Train an alignment of sound and text, from sounds with captions and recordings with texts.

    Long tracks are composed of the sounds, with stories of what is heard in which order.
    """
    check_installed("torch", "pytorch_lightning", "safetensors", "sentence_transformers")
    check_outputs({}, folders={"-o": output}, with_parents=True)
    values = parse_settings(settings)
    given = {
        "manifest": manifest,
        "output": output,
        "embeddings": embeddings,
        "text_encoder": text_encoder,
        "leave_out": parse_classes(leave_out),
    }
    values |= {name: value for name, value in given.items() if value is not None}
    run = values.setdefault("run", {})
    if seed is not None:
        run["seed"] = seed
    if quiet or not sys.stderr.isatty():
        run["progress"] = False
    tasks.training.train_text(values, bundle=bundle, device=device, quiet=quiet)


def train_motion(
    clips: Annotated[
        Path,
        typer.Argument(
            metavar="CLIPS",
            help="A .jsonl or .csv of clips of a few seconds: file, class (normal for none) and place.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The bundle to write; what is needed to resume goes to DIR.training."
        ),
    ],
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="BUNDLE",
            help="Whose appearance encoder is trained on, and whose other encoders are kept.",
            show_default="the embedded one",
            rich_help_panel=_DATA,
        ),
    ] = None,
    hold_out_places: Annotated[
        str | None,
        typer.Option(
            "--hold-out-places",
            metavar="A,B,C",
            help="Places not to learn from: the bundle's provenance says what the encoder makes of them.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, show_default="14", rich_help_panel=_LEARNING),
    ] = None,
    settings: SettingsOption = [],  # noqa: B006 - typer copies it
    seed: SeedOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where training of the same bundle ended.", rich_help_panel=_RUNNING)
    ] = False,
    accelerator: Annotated[
        str | None,
        typer.Option(
            "--accelerator",
            metavar="auto|cpu|gpu",
            help="The kind of device that trains.",
            show_default="auto",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train a motion encoder that knows people from shaking, on short clips that each show one thing.

    Clips of a fight, of people who walk by, of nothing at all, from as many places as you have: a place that is in
    the clips says nothing about a place that is not, so hold some out. Shake, pan, zoom, flicker, rain, headlights and
    things that pass are laid over the clips while training, so that lively is not taken for violent.

    The result is a bundle of encoders; `avdetect train --bundle DIR` trains a detector that reads them.
    """
    check_installed("torch", "pytorch_lightning", "safetensors", "onnx", "decord")
    values = parse_settings(settings)
    recipe = {"epochs": epochs}
    run = {
        "seed": seed,
        "accelerator": accelerator,
        "resume": resume or None,
        "progress": False if quiet or not sys.stderr.isatty() else None,
    }
    given = {
        "clips": clips,
        "output": output,
        "hold_out_places": parse_classes(hold_out_places),
        "recipe": recipe,
        "run": run,
    }
    tasks.training.train_motion(_merge(values, _without_none(given)), base=base, quiet=quiet)


def extract(
    manifest: Annotated[
        Path, typer.Argument(metavar="LIST", help="A .csv or .jsonl of videos, or a folder with one per class.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the embeddings go.")],
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, help="How many videos at once.", show_default="one per processor"
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Make the embeddings of videos, those that the detector will see.

    What is there already, made by the same encoders from the same file, is kept: go on after an interruption by
    giving the same command again. `avdetect train` does this by itself.
    """
    check_installed("safetensors")
    tasks.preparing.extract(manifest, output, bundle=bundle, device=device, jobs=jobs, quiet=quiet)


def compose(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="SOUNDS", help="A .jsonl or .csv of sounds with their classes, and descriptions (docs/text.md)."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where files and their list go.")],
    tracks: Annotated[int, typer.Option("--tracks", metavar="N", min=1, help="How many files.")] = 100,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration",
            metavar="SECONDS|FROM-TO",
            help="How long each is.",
            show_default="30-300, with --clips 20-75",
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips",
            metavar="CLIPS",
            help="Compose videos of the short clips in this .jsonl or .csv, with class and place (docs/training.md).",
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option("--events", metavar="A,B,C", help="With --clips: the classes of sounds that are events."),
    ] = None,
    normal: Annotated[
        float, typer.Option("--normal", metavar="SHARE", min=0, max=1, help="With --clips: videos without any event.")
    ] = 0.5,
    sounds: Annotated[str, typer.Option("--sounds", metavar="N|FROM-TO", help="How many sounds a track has.")] = "3-12",
    overlap: Annotated[
        float,
        typer.Option("--overlap", metavar="SHARE", min=0, max=1, help="How many overlap with the last one."),
    ] = 0.0,
    split: Annotated[Split | None, typer.Option("--split", help="Only clips and sounds of this split.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same files.")] = 0,
    quiet: QuietOption = False,
) -> None:
    """Compose long recordings of short ones, in which it is known what happens when, to train or to measure with.

    Of sounds alone: tracks, with timed descriptions and a story each. With --clips: videos in which events are heard,
    seen or both, among harmless sounds and pictures, with a list that evaluate and train read.
    """
    if clips is not None:
        check_installed("torch", "torchaudio")
        tasks.composing_scenes.compose_videos(
            manifest,
            clips,
            output,
            events=parse_classes(events) or [],
            normal_share=normal,
            num_videos=tracks,
            duration_s=_range(duration or "20-75", "--duration"),
            split=split,
            seed=seed,
            quiet=quiet,
        )
        return
    if events is not None:
        raise UsageError("--events says which sounds are events in composed videos: name the clips with --clips.")
    low, high = _range(sounds, "--sounds")
    tasks.preparing.compose(
        manifest,
        output,
        num_tracks=tracks,
        duration_s=_range(duration or "30-300", "--duration"),
        num_sounds=(int(low), int(high)),
        overlap_share=overlap,
        split=split,
        seed=seed,
        quiet=quiet,
    )


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(read_file(path).decode())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not TOML: {error}.") from error


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


def _range(text: str, option: str) -> tuple[float, float]:
    """``60`` or ``30-300``."""
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: write a number, or two with - between them.") from error
