"""``avdetect train-text``: from sounds and what is said of them to an alignment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from avdetect_cli.options import BundleOption, DeviceOption, QuietOption
from avdetect_cli.training import (
    DATA_PANEL,
    EmbeddingsOption,
    SeedOption,
    SettingsOption,
    check_installed,
    extraction_progress,
    open_encoders,
    parse_settings,
    say,
)
from avdetect_cli.values import parse_classes

__all__ = ["train_text"]


def train_text(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST", help="A .jsonl or .csv of recordings and texts (docs/text.md)."),
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
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            "--leave-out",
            metavar="A,B,C",
            help="Classes not to learn from, to see what is made of the unknown.",
            rich_help_panel=DATA_PANEL,
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
    from avdetect.training.alignment.train_text import train_text as run_training
    from avdetect.training.config import parse_text_config
    from avdetect_export.text_graph import load_sentence_transformer

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
    config = parse_text_config(values)
    encoders = open_encoders(bundle, device)
    model = load_sentence_transformer(config.text_encoder)
    with extraction_progress(enabled=not quiet) as on_encoded:
        checkpoint = run_training(config, encoders=encoders, text_model=model, on_encoded=on_encoded)
    say(f"{checkpoint}: trained; `avdetect evaluate-text {checkpoint} MANIFEST` says how good it is.", quiet=quiet)
