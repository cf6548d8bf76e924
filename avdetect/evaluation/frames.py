"""Snippet scores and true spans, laid on the frames of a video."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from avdetect.timebase import Span

__all__ = ["frame_scores", "frame_times", "frames_inside"]


def frame_times(duration_s: float, fps: float) -> NDArray[np.float64]:
    """When each frame starts, ``(frames,)``."""
    return np.arange(round(duration_s * fps)) / fps


def frame_scores(
    start_s: NDArray[np.float64], scores: NDArray[np.floating], times_s: NDArray[np.float64]
) -> NDArray[np.floating]:
    """The scores of snippets that start at ``start_s``, each repeated over its frames.

    A frame has the score of the last snippet that started by then; before the first, that of the first.

    Args:
        start_s: ``(N,)``, rising.
        scores: ``(N, ...)``.
        times_s: of the frames, ``(F,)``.

    Returns:
        ``(F, ...)``; zeros where there are no snippets.
    """
    if not start_s.size:
        return np.zeros((len(times_s), *scores.shape[1:]), scores.dtype)
    snippet = np.searchsorted(start_s, times_s + 1e-9, side="right") - 1  # 0.64 * 3 is a little more than 1.92
    return scores[np.maximum(snippet, 0)]


def frames_inside(spans: Iterable[Span], times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each frame lies in one of ``spans`` (half-open), ``(F,)``."""
    inside = np.zeros(len(times_s), np.bool_)
    for span in spans:
        first, last = np.searchsorted(times_s, (span.start_s - 1e-9, span.end_s - 1e-9))
        inside[first:last] = True
    return inside
