"""Composed tracks -> sound files and the list that says what is heard in them when."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.files import replacing
from avdetect.text.composer import MixOptions, compose, draw_story, moments_of
from avdetect.text.phrases import tell
from avdetect.text.records import LabelledSound

MANIFEST_NAME = "tracks.jsonl"


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """Options for composing tracks."""

    num_tracks: int = 100
    duration_s: tuple[float, float] = (30.0, 300.0)
    """A range to draw from."""
    num_sounds: tuple[int, int] = (3, 12)
    """A range to draw from, both ends included."""
    overlap_share: float = 0.0
    """Share of the sounds after the first that overlap with the one before."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_tracks < 1:
            raise UsageError(f"at least one track must be asked for, got {self.num_tracks}.")
        if not 0 < self.duration_s[0] <= self.duration_s[1]:
            raise UsageError(
                f"the duration must be above zero and rise, got {self.duration_s[0]:g} to {self.duration_s[1]:g} s."
            )
        if not 1 <= self.num_sounds[0] <= self.num_sounds[1]:
            raise UsageError(f"the number of sounds must be at least 1 and rise, got {self.num_sounds}.")
        if not 0 <= self.overlap_share <= 1:
            raise UsageError(f"the share of overlaps must be from 0 to 1, got {self.overlap_share:g}.")


def write_tracks(
    sounds: Sequence[LabelledSound],
    folder: Path,
    options: TrackOptions,
    mix: MixOptions = MixOptions(),  # noqa: B008 - frozen
    *,
    on_done: Callable[[int, int], None] | None = None,
) -> Path:
    """Compose tracks and write them to ``folder``.

    Args:
        sounds: to choose from, at the mix's rate.
        folder: must be there.
        options: how many, how long.
        mix: how sounds are mixed.
        on_done: called with the number of tracks written and to write, after each.

    Returns:
        The list.

    Raises:
        UsageError: the sounds are too long for the tracks.
        OutputError: the folder cannot be written.
    """
    rng = np.random.default_rng(options.seed)
    rows = []
    for number in range(options.num_tracks):
        duration_s = round(float(rng.uniform(*options.duration_s)), 2)
        count = int(rng.integers(options.num_sounds[0], options.num_sounds[1] + 1))
        story = draw_story(
            sounds,
            count,
            rng,
            overlap_share=options.overlap_share,
            max_sounds_s=duration_s,
            rate_hz=mix.rate_hz,
        )
        track = compose(story, mix, rng, duration_s=duration_s)
        name = f"track_{number:04d}.flac"
        write_flac(folder / name, track.samples, mix.rate_hz)
        heard = [
            {
                "start": round(one.span.start_s, 3),
                "end": round(one.span.end_s, 3),
                "text": one.text,
                **({} if one.label is None else {"class": one.label}),
            }
            for one in track.heard
        ]
        rows.append({"audio": name, "text": tell(moments_of(track.heard), rng), "sounds": heard})
        if on_done is not None:
            on_done(len(rows), options.num_tracks)
    path = folder / MANIFEST_NAME
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_flac(path: Path, samples: NDArray[np.float32], rate_hz: int) -> None:
    """Write mono samples within [-1, 1] as 16-bit FLAC, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    rounded = np.rint(samples * 32767).astype(np.int16)
    with replacing(path) as temporary, av.open(f"file:{temporary}", "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(rounded[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
