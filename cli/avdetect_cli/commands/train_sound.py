"""``avdetect train-sound``: from labelled sounds to encoders that were trained for mixtures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from avdetect.errors import UsageError
from avdetect_cli import tasks
from avdetect_cli.options import QuietOption
from avdetect_cli.values import check_installed, parse_settings

__all__ = ["EXAMPLES", "train_sound"]

_DATA = "What is learned from"
_LEARNING = "How it is learned"
_RUNNING = "Where it runs"

EXAMPLES = {
    "train_sound": """\b
Examples:
  avdetect train-sound sounds.jsonl -o encoders/
  avdetect train-sound sounds.jsonl -o encoders/ --hold-out 0/5
  avdetect train-sound sounds.jsonl -o encoders/ --resume --keep-original 0.5
  avdetect train videos/ --bundle encoders/ -o run/
  avdetect export run/checkpoint.safetensors --base encoders/ -o mine/
""",
}
"""What help ends with, by the name of the function."""


def train_sound(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="SOUNDS",
            help="A .jsonl or .csv of sound files: file, class and, where known, origin and split (docs/text.md).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The bundle of encoders; what --resume needs is in DIR.training."
        ),
    ],
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="BUNDLE",
            help="Whose encoder is trained on; its other encoders are kept.",
            show_default="the embedded one",
            rich_help_panel=_DATA,
        ),
    ] = None,
    sources: Annotated[
        Path | None,
        typer.Option(
            "--sources",
            metavar="FILE",
            help="A Markdown table with id, origin and path of sounds whose origin SOUNDS does not give.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option(
            "--hold-out",
            metavar="FOLD/FOLDS",
            help="Measure on this fold, counted from 0, of so many, and train on the others; recordings of one origin "
            "stay together.",
            show_default="the sounds of split val",
            rich_help_panel=_DATA,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            min=1,
            help="How long to train; more learns few recordings by heart.",
            show_default="2000",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            help="Scenes of 8 snippets in a step.",
            show_default="8",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    keep_original: Annotated[
        float | None,
        typer.Option(
            "--keep-original",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="How much of the base's weights the result is: with none of them, it knows recordings by heart.",
            show_default="0.3",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting, as in recipe.event_share=0.7; may be repeated; docs/training.md lists them.",
            rich_help_panel=_LEARNING,
        ),
    ] = [],  # noqa: B006 - typer copies it
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="The same seed trains the same.",
            show_default="0",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
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
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            help="Processes that mix scenes; a GPU wants some.",
            show_default="0, in the training process",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train the encoder of sound on, on mixtures of sounds that have a class.

    Scenes are mixed anew for every step: backgrounds, and single sounds of another pitch, colour and room at all
    levels. The encoder learns to hear through them, and its weights are averaged with the original ones. The result
    has no detector: train one with it, and export it onto it.
    """
    check_installed("torch", "torchaudio", "pytorch_lightning", "onnx")
    values = parse_settings(settings)
    values |= {"manifest": manifest, "output": output}
    if sources is not None:
        values["sources"] = sources
    if hold_out is not None:
        values["held_out"] = _fold(hold_out)
    recipe = {"steps": steps, "batch_scenes": batch, "keep_original": keep_original}
    run = {
        "seed": seed,
        "accelerator": accelerator,
        "loader_workers": workers,
        "resume": resume or None,
        "progress": False if quiet or not sys.stderr.isatty() else None,
    }
    for section, given in (("recipe", recipe), ("run", run)):
        chosen = {name: value for name, value in given.items() if value is not None}
        values[section] = {**values.get(section, {}), **chosen}
    tasks.training_sound.train_sound(values, base=base, quiet=quiet)


def _fold(text: str) -> dict[str, Any]:
    fold, slash, folds = text.partition("/")
    if not (slash and fold.isdecimal() and folds.isdecimal()) or not 0 <= int(fold) < int(folds) or int(folds) < 2:
        raise UsageError(f"--hold-out {text!r}: write FOLD/FOLDS, as in 0/5 for the first of five folds.")
    return {"fold": int(fold), "num_folds": int(folds)}
