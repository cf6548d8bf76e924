"""One MIL instance, and what a source must hand over to make one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import Manifest
from avdetect.media.packets import StreamPlan
from avdetect.timebase import Span


@dataclass(frozen=True, slots=True, eq=False)
class Snippet:
    """The input of the encoders for one hop. An absent modality is all zeros and flagged, never stale."""

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


def stream_plan(manifest: Manifest) -> StreamPlan:
    """The grid of ``manifest`` and what to decode for it; nothing for an encoder that is not there or not run.

    Without motion a cell is as long as the appearance encoder's frames are apart, and pictures have no luma: their
    ``luma_size`` is ``(0, 0)``. Likewise without appearance there is no RGB, and without audio the rate is 0.
    """
    visual, motion, audio = manifest.appearance, manifest.motion, manifest.audio
    cells = motion.cells_per_snippet if motion else visual.frames_per_snippet if visual else 1
    return StreamPlan(
        hop=manifest.hop,
        cells_per_snippet=cells,
        luma_size=(motion.height, motion.width) if motion else (0, 0),
        rgb_size=(visual.height, visual.width) if visual else (0, 0),
        rgb_cells=frozenset(rgb_cells(visual.frames_per_snippet, cells) if visual else ()),
        rate_hz=audio.rate_hz if audio else 0,
        want_video=visual is not None or motion is not None,
        want_audio=audio is not None,
    )


def rgb_cells(frames_per_snippet: int, cells_per_snippet: int) -> tuple[int, ...]:
    """The cell of each of a snippet's frames: spread evenly, centred (one frame of 8 cells: cell 4).

    A cell is there twice where more frames are asked for than there are cells.
    """
    return tuple((2 * frame + 1) * cells_per_snippet // (2 * frames_per_snippet) for frame in range(frames_per_snippet))
