"""``avdetect labels``: what operators answered on the page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect_cli.options import QuietOption

if TYPE_CHECKING:
    from avdetect.serve.store.labels import LabelledClips

__all__ = ["export_labels"]


def export_labels(
    source: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="The configuration of `avdetect serve`, or the folder of its store."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The manifest, .jsonl; it names clips from its folder."),
    ],
    quiet: QuietOption = False,
) -> None:
    """Make a training manifest of the events that were confirmed and dismissed.

    The service may run meanwhile. `avdetect train` takes the manifest as it is.
    """
    from avdetect.errors import DataError, UsageError
    from avdetect.serve.config.loading import CLIPS_FOLDER, STORE_FILE
    from avdetect.serve.store import Store
    from avdetect.serve.store.labels import labelled_clips
    from avdetect.sinks.atomic import replacing
    from avdetect_cli.training import say

    if output.suffix.lower() != ".jsonl":
        raise UsageError(f"{output}: the manifest's name must end in .jsonl.")
    folder, margin_s = _folder_and_margin(source)
    clips_folder = folder / CLIPS_FOLDER
    with Store(folder / STORE_FILE, read_only=True) as store:
        found = labelled_clips(store, clips_folder, margin_s=margin_s)
    if not found.clips:
        raise DataError(f"{folder}: there is nothing to learn from{_left_out(found) or ': no event has an answer'}.")
    with replacing(output) as path:
        path.write_text(found.as_jsonl(Path(os.path.relpath(clips_folder, output.parent))), "utf-8")
    num_events = sum(bool(clip.class_names) for clip in found.clips)
    num_normal = len(found.clips) - num_events
    say(f"{output}: clips with events: {num_events}, without: {num_normal}{_left_out(found)}.", quiet=quiet)


def _folder_and_margin(source: Path) -> tuple[Path, float]:
    """Of the store, and how much of the time around an event its clip shows."""
    from avdetect.serve.config.reading import read_config
    from avdetect.serve.store.labels import CLIP_MARGIN_S

    if source.is_dir():
        return source, CLIP_MARGIN_S
    config = read_config(source).config
    return config.store.folder, max(config.clips.pre_roll_s, config.clips.post_roll_s)


def _left_out(found: LabelledClips) -> str:
    reasons = ", ".join(f"{count} {why}" for why, count in found.left_out.items())
    return f"; answers left out: {reasons}" if reasons else ""
