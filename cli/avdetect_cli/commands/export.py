"""``avdetect export`` and ``avdetect import-checkpoint``: weights -> bundle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect_cli.options import QuietOption
from avdetect_cli.training import check_installed, say
from avdetect_cli.values import parse_classes

if TYPE_CHECKING:
    from avdetect.manifest import Manifest

__all__ = ["export", "import_checkpoint"]


class Weights(StrEnum):
    """How matrices are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


_Output = Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle's folder.")]
_Weights = Annotated[Weights, typer.Option("--weights", help="How weights are stored; float16 halves their size.")]


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What `avdetect train` wrote.")],
    output: _Output,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="BUNDLE", help="Whose encoders made the embeddings.", show_default="the embedded one"
        ),
    ] = None,
    weights: _Weights = Weights.FLOAT32,
    left_context: Annotated[
        int | None,
        typer.Option(
            "--left-context", metavar="SNIPPETS", min=0, help="How far back to look.", show_default="as trained"
        ),
    ] = None,
    lookahead: Annotated[
        int | None,
        typer.Option(
            "--lookahead",
            metavar="SNIPPETS",
            min=0,
            help="How far ahead to look, which is the latency.",
            show_default="as trained",
        ),
    ] = None,
    not_anomaly: Annotated[
        str | None,
        typer.Option("--not-anomaly", metavar="A,B", help="Classes that do not count towards the anomaly score."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", show_default="that of the folder")] = None,
    quiet: QuietOption = False,
) -> None:
    """Make a bundle of a trained network; the graph is checked against the network before it is written."""
    check_installed("torch", "onnx", "safetensors")
    from avdetect_export.checkpoint_bundle import ExportOptions, export_checkpoint

    options = ExportOptions(
        weights=weights.value,
        left_context_snippets=left_context,
        lookahead_snippets=lookahead,
        not_anomaly=parse_classes(not_anomaly) or (),
        name=name,
    )
    manifest = export_checkpoint(checkpoint, output, base=base, options=options)
    say(_described(output, manifest), quiet=quiet)


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
    from avdetect_export.checkpoint_bundle import ExportOptions, import_published

    manifest = import_published(file, output, options=ExportOptions(weights=weights.value))
    say(_described(output, manifest), quiet=quiet)


def _described(output: Path, manifest: Manifest) -> str:
    parity = max(value for key, value in manifest.provenance["parity"].items() if key.endswith("scores"))
    lines = [f"{output}: {', '.join(manifest.class_names)}; scores within {parity:.1g} of the network's."]
    if manifest.detector.form == "offline":
        lines.append("It looks at the whole of a video at once: it scores files, not live feeds.")
    if manifest.has_encoders:
        lines.append(f"Try it: avdetect score VIDEO --bundle {output}")
    else:
        lines.append(f"It scores features that were made elsewhere: avdetect evaluate {output} FEATURES.list")
    return "\n".join(lines)
