"""One MIL instance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.timebase import Span

__all__ = ["Snippet"]


@dataclass(frozen=True, slots=True, eq=False)
class Snippet:
    """What the encoders see for one hop. An absent modality is all zeros and flagged, never stale."""

    index: int
    """``t``: the snippet covers ``[t * hop, (t + 1) * hop)`` from the grid's origin."""
    span: Span
    frames: NDArray[np.uint8]
    """RGB, ``(frames_per_snippet, height, width, 3)``."""
    luma: NDArray[np.uint8]
    """Full range, ``(cells_per_snippet + 1, height, width)``; the first is the last picture of the snippet before."""
    luma_time_s: NDArray[np.float32]
    """Seconds from the snippet's start, ``(cells_per_snippet + 1,)``; a repeated picture repeats its time."""
    waveform: NDArray[np.float32]
    """Mono at the manifest's rate, ``(window_samples,)``, ending at the snippet's end."""
    audio_present: bool
    visual_present: bool

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            raise ValueError(f"frames must be (frames, height, width, 3), got {self.frames.shape}.")
        if self.luma.ndim != 3 or self.luma_time_s.shape != self.luma.shape[:1]:
            raise ValueError(
                f"luma must be (cells + 1, height, width) with a time each, got {self.luma.shape} and "
                f"{self.luma_time_s.shape}."
            )
        if self.waveform.ndim != 1:
            raise ValueError(f"waveform must be (samples,), got {self.waveform.shape}.")
