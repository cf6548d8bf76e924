"""Clips and sounds in memory, ready to be put together.

A clip is kept as luma pictures, one for each cell of the snippet grid, fitted into one format; a sound as samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from avdetect.errors import DataError, MediaError, UsageError
from avdetect.media.location import locate
from avdetect.text.records import read_waveform
from avdetect.training.scenes.material import Clip, SoundFile

__all__ = ["FORMAT", "Library", "PictureClip", "SceneMaterial", "Sound", "fit", "load_library"]

RATE_HZ = 16_000
FORMAT = (240, 320)
"""Height and width in pixels of the pictures of a scene."""
PICTURE_RATE_HZ = Fraction(25, 2)
"""Of the pictures that are kept: a picture for each cell of 0.08 s."""
_LEAST_PEAK = 1e-3
"""A clip whose sound stays below has none."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureClip:
    """A clip as it is put into a scene."""

    path: Path
    label: str | None
    place: str
    luma: NDArray[np.uint8]
    """Full range, fitted into the format, ``(pictures, height, width)``, 12.5 a second."""
    sound: NDArray[np.float32] | None
    """Mono at 16 kHz, or ``None`` where nothing is to be heard."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A single sound."""

    label: str
    samples: NDArray[np.float32]
    """Mono at 16 kHz, its peak at 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """All that scenes may be composed of."""

    clips: tuple[PictureClip, ...]
    sounds: tuple[Sound, ...]
    heard_events: frozenset[str]
    """The classes of sounds that are events; the others are harmless."""
    beds: frozenset[str]
    """The classes of sounds that may go on in the background."""

    def __post_init__(self) -> None:
        if not any(clip.label is None for clip in self.clips):
            raise UsageError("scenes need clips in which nothing happens (class normal), and there are none.")
        if not any(sound.label in self.beds for sound in self.sounds):
            raise UsageError(
                f"scenes need sounds of the background, of {', '.join(sorted(self.beds))}; there are none."
            )

    @property
    def clips_by_place(self) -> Mapping[str, Sequence[PictureClip]]:
        """The clips of each place."""
        places: dict[str, list[PictureClip]] = defaultdict(list)
        for clip in self.clips:
            places[clip.place].append(clip)
        return places

    @property
    def sounds_by_label(self) -> Mapping[str, Sequence[Sound]]:
        """The sounds of each class."""
        labels: dict[str, list[Sound]] = defaultdict(list)
        for sound in self.sounds:
            labels[sound.label].append(sound)
        return labels


@dataclass(frozen=True, slots=True)
class SceneMaterial:
    """Which clips and sounds scenes are composed of."""

    clips: tuple[Clip, ...]
    """Short ones: all of their pictures are kept in memory."""
    sounds: tuple[SoundFile, ...]
    heard_events: frozenset[str]
    """The classes of sounds that are events; the others are harmless."""
    beds: frozenset[str] = frozenset({"ambient", "crowd", "machinery"})
    """The classes of sounds that may go on in the background."""


def load_library(material: SceneMaterial, *, on_done: Callable[[int, int], None] | None = None) -> Library:
    """Decode clips and sounds.

    Args:
        material: which.
        on_done: called with the number of files read and to read.

    Raises:
        DataError: some cannot be read; the message names them all.
        UsageError: there are no quiet clips or no background sounds.
    """
    clips, sounds = material.clips, material.sounds
    faults: list[str] = []
    pictures: list[PictureClip] = []
    heard: list[Sound] = []
    total = len(clips) + len(sounds)
    for number, clip in enumerate(clips, 1):
        try:
            pictures.append(PictureClip(clip.path, clip.label, clip.place, _luma(clip.path), _own_sound(clip.path)))
        except MediaError as error:
            faults.append(f"  {error}")
        if on_done is not None:
            on_done(number, total)
    for number, sound in enumerate(sounds, len(clips) + 1):
        try:
            samples = read_waveform(sound.path, RATE_HZ)
        except MediaError as error:
            faults.append(f"  {error}")
        else:
            peak = float(np.abs(samples).max())
            if peak > 0:
                heard.append(Sound(sound.label, samples / np.float32(peak)))
        if on_done is not None:
            on_done(number, total)
    if faults:
        raise DataError(f"{len(faults)} of {total} clips and sounds could not be read:", *faults)
    return Library(tuple(pictures), tuple(heard), material.heard_events, material.beds)


def fit(height: int, width: int) -> tuple[int, int]:
    """The size at which a picture fits into the format; even, as encoders want it."""
    scale = min(FORMAT[0] / height, FORMAT[1] / width)
    fitted = [
        min(limit, max(2, round(side * scale / 2) * 2)) for side, limit in ((height, FORMAT[0]), (width, FORMAT[1]))
    ]
    return fitted[0], fitted[1]


def padded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In the middle of the format, black around it: ``(h, w, ...)`` -> ``(height, width, ...)``."""
    out = np.zeros((*FORMAT, *picture.shape[2:]), np.uint8)
    top, left = (FORMAT[0] - picture.shape[0]) // 2, (FORMAT[1] - picture.shape[1]) // 2
    out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out


def _luma(path: Path) -> NDArray[np.uint8]:
    """The picture on show in the middle of every cell."""
    pictures: list[NDArray[np.uint8]] = []
    begin: float | None = None
    try:
        with av.open(locate(path).url) as container:
            for frame in container.decode(video=0):
                if frame.time is None:
                    continue
                begin = frame.time if begin is None else begin
                height, width = fit(frame.height, frame.width)
                wanted = int((frame.time - begin) * float(PICTURE_RATE_HZ) + 0.5) + 1
                if wanted > len(pictures):
                    grey = np.asarray(frame.reformat(width=width, height=height, format="gray").to_ndarray(), np.uint8)
                    pictures.extend([padded(grey)] * (wanted - len(pictures)))
    except (av.FFmpegError, IndexError, OSError) as error:
        raise MediaError(f"{path} cannot be read as a clip: {error}.") from error
    if not pictures:
        raise MediaError(f"{path} has no pictures.")
    return np.stack(pictures)


def _own_sound(path: Path) -> NDArray[np.float32] | None:
    try:
        samples = read_waveform(path, RATE_HZ)
    except MediaError:  # without sound
        return None
    return samples if np.abs(samples).max() > _LEAST_PEAK else None
