"""Which detections found which events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.timebase import Span

__all__ = ["MatchCounts", "ious", "match", "overlaps"]

_TOLERANCE = 1e-9
"""An overlap of exactly the asked share counts, whatever the last bit says."""


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """How many detections and events there are, and how many of them are pairs."""

    num_matched: int = 0
    num_detections: int = 0
    num_events: int = 0

    def __add__(self, other: MatchCounts) -> MatchCounts:
        return MatchCounts(
            self.num_matched + other.num_matched,
            self.num_detections + other.num_detections,
            self.num_events + other.num_events,
        )

    @property
    def precision(self) -> float:
        """The share of detections that found an event; 0 without any."""
        return self.num_matched / self.num_detections if self.num_detections else 0.0

    @property
    def recall(self) -> float:
        """The share of events that were found; 0 without any."""
        return self.num_matched / self.num_events if self.num_events else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 without detections and events."""
        both = self.num_detections + self.num_events
        return 2 * self.num_matched / both if both else 0.0


def ious(detections: Sequence[Span], events: Sequence[Span]) -> NDArray[np.float64]:
    """Overlap of each pair: intersection over union of their times, ``(detections, events)``."""
    found = np.array([(span.start_s, span.end_s) for span in detections]).reshape(-1, 1, 2)
    true = np.array([(span.start_s, span.end_s) for span in events]).reshape(1, -1, 2)
    shared = np.minimum(found[..., 1], true[..., 1]) - np.maximum(found[..., 0], true[..., 0])
    shared = np.maximum(shared, 0.0)
    union = (found[..., 1] - found[..., 0]) + (true[..., 1] - true[..., 0]) - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))


def overlaps(detections: Sequence[Span], events: Sequence[Span]) -> NDArray[np.bool_]:
    """Whether each pair has any time in common, ``(detections, events)``."""
    return np.asarray(ious(detections, events) > 0)


def match(
    detections: Sequence[Span], scores: Sequence[float], events: Sequence[Span], *, min_iou: float
) -> list[int | None]:
    """One-to-one, best score first: each detection takes the free event it overlaps most, if by at least ``min_iou``.

    Returns:
        For each detection the index of its event, ``None`` where it found none.
    """
    pairs: list[int | None] = [None] * len(detections)
    if not events:
        return pairs
    overlap = ious(detections, events)
    for index in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        best = int(overlap[index].argmax())
        if overlap[index, best] >= min_iou - _TOLERANCE:
            pairs[index] = best
            overlap[:, best] = -1.0  # taken
    return pairs
