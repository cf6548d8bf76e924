"""What the snippets of a manifest need of a source."""

from __future__ import annotations

from avdetect.manifest import Manifest
from avdetect.media.packets import StreamPlan

__all__ = ["rgb_cells", "stream_plan"]


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
