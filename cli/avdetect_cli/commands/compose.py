"""``avdetect compose``: long tracks of labelled sounds, with what is heard in them when."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avdetect.errors import UsageError
from avdetect_cli.options import QuietOption
from avdetect_cli.training import extraction_progress, say

__all__ = ["compose"]


class SplitName(StrEnum):
    """Of a manifest."""

    TRAIN = "train"
    VAL = "val"


def compose(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST", help="A .jsonl or .csv of sounds, descriptions and classes (docs/text.md)."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where tracks and manifest go.")],
    tracks: Annotated[int, typer.Option("--tracks", metavar="N", min=1, help="How many.")] = 100,
    duration: Annotated[
        str, typer.Option("--duration", metavar="SECONDS|FROM-TO", help="How long each is.")
    ] = "30-300",
    sounds: Annotated[str, typer.Option("--sounds", metavar="N|FROM-TO", help="How many sounds each has.")] = "3-12",
    overlap: Annotated[
        float,
        typer.Option("--overlap", metavar="SHARE", min=0, max=1, help="How many overlap with the last one."),
    ] = 0.0,
    split: Annotated[SplitName | None, typer.Option("--split", help="Only sounds of this split.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same tracks.")] = 0,
    quiet: QuietOption = False,
) -> None:
    """Compose long tracks of short sounds, with timed descriptions and a story each, to train or to measure with."""
    from avdetect.errors import OutputError
    from avdetect.text.composer import MixOptions
    from avdetect.text.records import LabelledSound, read_text_records, read_waveform
    from avdetect.text.track_files import TrackOptions, write_tracks

    low, high = _range(sounds, "--sounds")
    options = TrackOptions(
        num_tracks=tracks,
        duration_s=_range(duration, "--duration"),
        num_sounds=(int(low), int(high)),
        overlap_share=overlap,
        seed=seed,
    )
    records = [one for one in read_text_records(manifest) if split is None or one.split == split.value]
    if not records:
        raise UsageError(f"{manifest} has no sounds of the split {split}.")
    mix = MixOptions()
    known = [LabelledSound(read_waveform(one.media, mix.rate_hz), one.text, one.label) for one in records]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}.") from error
    with extraction_progress(enabled=not quiet) as on_done:
        path = write_tracks(known, output, options, mix, on_done=on_done)
    say(f"{path}: {tracks} tracks.", quiet=quiet)


def _range(text: str, option: str) -> tuple[float, float]:
    """``60`` or ``30-300``."""
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: write a number, or two with - between them.") from error
