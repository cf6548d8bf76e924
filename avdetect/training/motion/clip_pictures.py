"""Short labelled clips as small luma pictures in memory, decoded once by random access."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import DataError, UsageError
from avdetect.media.resample import FRACTION_BITS, Axis, Plane, resample
from avdetect.training.scenes.material import Clip

__all__ = ["GRID_S", "ClipPictures", "decode_clips", "divided", "read_pictures"]

GRID_S = 0.04
"""Seconds between two pictures: finer than what the encoder sees, so that clips can be played at other speeds."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (BT.601): the luma that the decoder made them of, in full range."""
_MAX_CLIP_S = 30.0
"""Longer ones hold more than one thing, and a label must hold all the way through."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipPictures:
    """One clip, decoded."""

    clip: Clip
    luma: NDArray[np.uint8]
    """One picture every 0.04 s, full range, ``(pictures, height, width)``; at least two."""

    @property
    def duration_s(self) -> float:
        """From the first picture to the last."""
        return (len(self.luma) - 1) * GRID_S


def decode_clips(
    clips: Sequence[Clip], size: tuple[int, int], *, on_decoded: Callable[[int, int], None] | None = None
) -> tuple[ClipPictures, ...]:
    """Decode all ``clips`` into memory: 0.5 MB for every second of a clip at 120 x 160.

    Args:
        clips: what to decode.
        size: height and width of the pictures.
        on_decoded: called with the number of clips done and to do.

    Raises:
        DataError: one cannot be read, is too short or too long.
    """
    decoded: list[ClipPictures] = []
    for clip in clips:
        decoded.append(ClipPictures(clip, read_pictures(clip.path, size)))
        if on_decoded is not None:
            on_decoded(len(decoded), len(clips))
    return tuple(decoded)


def read_pictures(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The luma of a video, one picture every 0.04 s, ``(pictures, height, width)``.

    Every place of the grid has the last picture that was on show by then. Pictures are averaged over areas, with the
    scorer's own weights.

    Raises:
        DataError: the file cannot be read, or is too short or too long.
    """
    import decord

    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        starts = np.asarray(reader.get_frame_timestamp(list(range(len(reader)))), np.float64)[:, 0]
    except (decord.DECORDError, RuntimeError, OSError) as error:
        raise DataError(f"{path} cannot be read as video: {str(error).splitlines()[0]}.") from error
    starts -= starts[0]
    if starts[-1] > _MAX_CLIP_S:
        raise DataError(
            f"{path} is {starts[-1]:.0f} s long: cut it into clips of at most {_MAX_CLIP_S:.0f} s, "
            "in each of which one thing happens all the way through."
        )
    places = np.searchsorted(starts, np.arange(0.0, starts[-1] + 1e-6, GRID_S) + 1e-6, side="right") - 1
    if len(places) < 2:
        raise DataError(f"{path} is too short: there is no motion in less than {2 * GRID_S:.2f} s.")
    chosen, which = np.unique(places, return_inverse=True)
    try:
        pictures = reader.get_batch(chosen.tolist()).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}.") from error
    return _small_luma(pictures, size)[which]


def _small_luma(pictures: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """RGB ``(pictures, height, width, 3)`` -> luma ``(pictures, *size)``."""
    _, height, width, _ = pictures.shape
    rows, columns = (Axis.build(n, m, extent=n) for n, m in zip((height, width), size, strict=True))
    small = np.empty((len(pictures), *size), np.uint8)
    out = np.empty(size, np.float32)
    for index, picture in enumerate(pictures):
        luma = np.rint(picture.astype(np.float32) @ _LUMA).astype(np.uint8)
        resample(Plane(luma.ravel(), height, width, width, 1, 8), rows, columns, out)
        small[index] = np.clip(np.rint(out / (1 << FRACTION_BITS)), 0, 255)
    return small


def divided(clips: Iterable[Clip], hold_out_places: Collection[str]) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Clips to learn from, and those of the places that are held out.

    Raises:
        UsageError: no clip is of such a place, or none is left.
    """
    clips = tuple(clips)
    unknown = sorted(set(hold_out_places) - {clip.place for clip in clips})
    if unknown:
        raise UsageError(f"no clip is of the place {unknown[0]}, which is to be held out.")
    kept = tuple(clip for clip in clips if clip.place not in hold_out_places)
    if not kept:
        raise UsageError("all places are held out: nothing is left to learn from.")
    return kept, tuple(clip for clip in clips if clip.place in hold_out_places)
