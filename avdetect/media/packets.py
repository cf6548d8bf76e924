"""What a source yields, and what is known of it before it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["AudioChunk", "MediaInfo", "MediaNote", "StreamPlan", "VideoFrame"]


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What the snippet grid needs of a source; a source decodes and converts no more than this.

    The hop is cut into ``cells_per_snippet`` cells. A source hands over at most one picture for a cell: the last that
    starts in it. Every picture has low-resolution luma, those that the appearance encoder sees have RGB as well.
    """

    hop: Fraction
    """Seconds."""
    cells_per_snippet: int
    luma_size: tuple[int, int]
    """``(height, width)``."""
    rgb_size: tuple[int, int]
    """``(height, width)``."""
    rgb_cells: frozenset[int]
    """The cells of a snippet, ``0 <= cell < cells_per_snippet``, whose picture is wanted in RGB."""
    rate_hz: int
    """Of the audio."""
    want_video: bool = True
    want_audio: bool = True

    @property
    def cell(self) -> Fraction:
        """Length of a cell in seconds."""
        return self.hop / self.cells_per_snippet


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """The picture of one cell of the grid."""

    time: Fraction
    """Seconds from the grid's origin, from the presentation timestamp."""
    hold: Fraction
    """Seconds after ``time`` for which the picture may stand in for missing ones; later ones are a gap."""
    duration: Fraction
    """Seconds for which it is meant to be shown: where the media end, if it is the last."""
    luma: NDArray[np.uint8]
    """Low-resolution luma, full range, ``(height, width)``."""
    rgb: NDArray[np.uint8] | None
    """``(height, width, 3)``, or ``None`` where the plan does not ask for it."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A stretch of sound without a hole."""

    time: Fraction
    """Of the first sample; seconds from the grid's origin."""
    samples: NDArray[np.float32]
    """Mono, at the plan's rate, nominally within [-1, 1], ``(samples,)``."""


@dataclass(frozen=True, slots=True)
class MediaNote:
    """Something about the source that a user should know: damage, a gap, a repaired timestamp."""

    code: str
    """Stable, for programs: ``no-audio``, ``no-video``, ``truncated``, ``decode-errors``, ``timestamp-jump`` ..."""
    message: str
    """One sentence for people."""
    time_s: float | None = None
    """Where, where known; seconds from the grid's origin."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the container says of itself."""

    uri: str
    format: str = ""
    duration_s: float | None = None
    """As declared, from the grid's origin; ``None`` where unknown (pipes, live)."""
    origin_s: float = 0.0
    """Presentation time of the grid's origin on the container's own clock."""
    video_codec: str | None = None
    width: int = 0
    height: int = 0
    """As shown, after rotation."""
    frame_rate_hz: float | None = None
    pixel_format: str = ""
    rotation: int = 0
    """Degrees clockwise by which a player turns the coded picture."""
    mirrored: bool = False
    """Whether a player then mirrors it, left to right."""
    audio_codec: str | None = None
    audio_rate_hz: int = 0
    audio_channels: int = 0
    audio_tracks: tuple[str, ...] = field(default=())
    """One description per audio track, in the container's order."""
