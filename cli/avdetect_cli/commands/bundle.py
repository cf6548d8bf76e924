"""``avdetect export``, ``import-checkpoint``, ``bundle`` and ``doctor``: bundles, and what is installed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avdetect.errors import UsageError
from avdetect_cli import tasks
from avdetect_cli.options import QuietOption
from avdetect_cli.values import check_installed, parse_classes

__all__ = ["doctor", "export", "import_checkpoint", "show", "verify"]

_DETECTOR = "The detector, where a CHECKPOINT is given"
_WORDS = "What it understands"


class Weights(StrEnum):
    """How matrices are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


_Output = Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle's folder.")]
_Weights = Annotated[
    Weights,
    typer.Option("--weights", help="How weights are stored; float16 halves their size.", rich_help_panel=_DETECTOR),
]
_Path = Annotated[
    Path | None,
    typer.Argument(metavar="[PATH]", help="A bundle's folder or a .zip of one.", show_default="the embedded one"),
]


def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT", help="What `avdetect train` wrote.", show_default="the detector of the base"
        ),
    ] = None,
    *,
    output: _Output,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="BUNDLE",
            help="What the rest comes from: encoders, alignment, prompts.",
            show_default="the embedded one",
        ),
    ] = None,
    weights: _Weights = Weights.FLOAT32,
    left_context: Annotated[
        int | None,
        typer.Option(
            "--left-context",
            metavar="SNIPPETS",
            min=0,
            help="How far back the detector looks.",
            show_default="as trained",
            rich_help_panel=_DETECTOR,
        ),
    ] = None,
    lookahead: Annotated[
        int | None,
        typer.Option(
            "--lookahead",
            metavar="SNIPPETS",
            min=0,
            help="How far ahead the detector looks, which is the latency.",
            show_default="as trained",
            rich_help_panel=_DETECTOR,
        ),
    ] = None,
    prompt: Annotated[
        list[str],
        typer.Option(
            "--prompt",
            "-p",
            metavar="PHRASE|NAME=PHRASE",
            help="Put the sound that these words tell of into the bundle, as a class called by the phrase or by NAME; "
            "may be repeated, with the same NAME for other words for the same.",
            rich_help_panel=_WORDS,
        ),
    ] = [],  # noqa: B006 - typer copies it
    keep_text_encoder: Annotated[
        bool,
        typer.Option(
            "--keep-text-encoder",
            help="Also with --prompt keep what new words are understood with (24 MB), for further prompts and queries.",
            rich_help_panel=_WORDS,
        ),
    ] = False,
    alignment: Annotated[
        Path | None,
        typer.Option(
            "--alignment",
            metavar="FILE",
            help="What `avdetect train-text` wrote; its text encoder comes with it.",
            show_default="the base's",
            rich_help_panel=_WORDS,
        ),
    ] = None,
    not_anomaly: Annotated[
        str | None,
        typer.Option("--not-anomaly", metavar="A,B", help="Classes that do not count towards the anomaly score."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The name of the bundle.", show_default="that of the folder"),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Make a bundle: of a trained network, of words, or of both.

    Graphs are checked against the networks before they are written. A bundle with --prompt finds what the words say on
    machines that have no text encoder; to put prompts into a bundle, torch is not needed.
    """
    if checkpoint is None and alignment is None and not prompt:
        raise UsageError("there is nothing to export: give a CHECKPOINT, --alignment or --prompt.")
    if checkpoint is not None or alignment is not None:
        check_installed("torch", "onnx", "safetensors")
    if alignment is not None:
        check_installed("sentence_transformers", "tokenizers")
    tasks.bundles.export(
        checkpoint,
        output,
        base=base,
        weights=weights.value,
        left_context_snippets=left_context,
        lookahead_snippets=lookahead,
        prompts=tasks.choices.chosen_prompts(prompt),
        keep_text_encoder=keep_text_encoder,
        alignment=alignment,
        not_anomaly=parse_classes(not_anomaly) or (),
        name=name,
        quiet=quiet,
    )


def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A state dict that the published MACIL-SD code saved.")],
    output: _Output,
    weights: _Weights = Weights.FLOAT32,
    quiet: QuietOption = False,
) -> None:
    """Make a bundle of published MACIL-SD weights: the offline form, which scores features.

    Nothing in the file is executed. The bundle has no encoders, so it scores no videos but I3D and VGGish features of
    them: with `avdetect evaluate`, or avdetect.score_features in Python.
    """
    check_installed("torch", "onnx", "safetensors")
    tasks.bundles.import_checkpoint(file, output, weights=weights.value, quiet=quiet)


def show(
    path: _Path = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
) -> None:
    """Show what a bundle is: classes and their rules, graphs, latency, origins."""
    tasks.bundles.show_bundle(path, json=json)


def verify(path: _Path = None) -> None:
    """Check every file of a bundle against the size and hash in its manifest."""
    tasks.bundles.verify_bundle(path)


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False) -> None:
    """Say what is installed, what is missing, how to get it.

    Exit code 1 if something is broken that scoring needs.
    """
    tasks.checks.doctor(json=json)
