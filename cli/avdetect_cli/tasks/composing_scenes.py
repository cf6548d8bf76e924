"""Composing videos of short clips and single sounds; importing this imports torch."""

from __future__ import annotations

from pathlib import Path

from avdetect.errors import UsageError
from avdetect.files import make_folder
from avdetect.training.scenes.library import SceneMaterial, load_library
from avdetect.training.scenes.material import read_clips, read_sound_files
from avdetect.training.scenes.scene import SceneOptions
from avdetect.training.scenes.scene_files import write_scenes
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.terminal.bars import extraction_progress
from avdetect_cli.terminal.text import say

__all__ = ["compose_videos"]


def compose_videos(
    sounds: Path,
    clips: Path,
    output: Path,
    *,
    events: list[str],
    normal_share: float,
    num_videos: int,
    duration_s: tuple[float, float],
    split: str | None,
    seed: int,
    quiet: bool,
) -> None:
    """Compose videos, and write them with a manifest that ``evaluate`` and ``train`` read.

    Args:
        sounds: list of sounds with their classes.
        clips: list of clips with their classes and places.
        output: the folder, made if it is not there.
        events: which classes of sounds are events; the others are harmless.
        normal_share: of the videos, in how many nothing happens.
        num_videos: how many.
        duration_s: a range to draw from.
        split: only what is of this split, or of none.
        seed: the same seed gives the same videos.
        quiet: show no progress.

    Raises:
        AvdetectError: a list or a file cannot be read, or a video cannot be written.
    """
    check_outputs({}, folders={"-o": output}, with_parents=True)
    options = SceneOptions(duration_s=duration_s, positive_share=1 - normal_share)
    chosen_clips = [one for one in read_clips(clips) if split is None or one.split in (None, split)]
    chosen_sounds = [one for one in read_sound_files(sounds) if split is None or one.split in (None, split)]
    labels = {one.label for one in chosen_sounds}
    if unknown := set(events) - labels:
        raise UsageError(
            f"--events {', '.join(sorted(unknown))}: there is no such sound; the classes are "
            f"{', '.join(sorted(labels))}."
        )
    make_folder(output)
    material = SceneMaterial(tuple(chosen_clips), tuple(chosen_sounds), frozenset(events))
    with extraction_progress(enabled=not quiet) as on_read:
        library = load_library(material, on_done=on_read)
    with extraction_progress(enabled=not quiet) as on_written:
        path = write_scenes(library, output, options, num_scenes=num_videos, seed=seed, on_done=on_written)
    say(f"{path}: {num_videos} videos.", quiet=quiet)
