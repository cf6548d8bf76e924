"""The detector at every threshold: what it would find, and what that would cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.evaluation.matching import MatchCounts, match, overlaps
from avdetect.timebase import Span

__all__ = ["OperatingPoint", "ScoredSpans", "event_average_precision", "operating_points", "thresholds_for"]

_MAX_SHARE = 0.5
"""The lowest threshold that is tried is reached by this share of the snippets."""


@dataclass(frozen=True, slots=True)
class ScoredSpans:
    """Detections of one video."""

    spans: Sequence[Span]
    scores: Sequence[float]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """All videos, decided with one threshold."""

    threshold: float
    counts: dict[float, MatchCounts]
    """By the overlap that a match needs."""
    num_detected: int
    """Events that some detection overlaps at all."""
    num_false: int
    """Detections that overlap no event at all."""


def thresholds_for(scores: NDArray[np.floating], count: int) -> list[float]:
    """Up to ``count`` thresholds, highest first, spread over the upper scores whatever their scale.

    They are reached by shares of the snippets that go from one snippet to half of them in equal ratios, so that they do
    not change what is found when the scores are put on another scale that keeps their order.
    """
    if not scores.size:
        return []
    shares = np.geomspace(min(1.0 / scores.size, _MAX_SHARE), _MAX_SHARE, count)
    ranks = np.ceil(shares * scores.size - 1e-9).astype(np.int64) - 1
    found = np.unique(np.sort(scores)[::-1][ranks])
    return [float(value) for value in found[::-1]]


def operating_points(
    decide: Callable[[float], Sequence[ScoredSpans]],
    events: Sequence[Sequence[Span]],
    thresholds: Sequence[float],
    *,
    min_ious: Sequence[float],
) -> list[OperatingPoint]:
    """Decide at each of ``thresholds``, and compare with ``events``.

    Args:
        decide: the detections of every video at a threshold.
        events: of every video, in the same order.
        thresholds: to try.
        min_ious: the overlaps that a match needs.
    """
    return [_compare(threshold, decide(threshold), events, min_ious) for threshold in thresholds]


def _compare(
    threshold: float, found: Sequence[ScoredSpans], events: Sequence[Sequence[Span]], min_ious: Sequence[float]
) -> OperatingPoint:
    counts = dict.fromkeys(min_ious, MatchCounts())
    num_detected = num_false = 0
    for detections, true in zip(found, events, strict=True):
        touching = overlaps(detections.spans, true)
        num_detected += int(touching.any(axis=0).sum())
        num_false += int((~touching.any(axis=1)).sum())
        for min_iou in min_ious:
            pairs = match(detections.spans, detections.scores, true, min_iou=min_iou)
            matched = sum(pair is not None for pair in pairs)
            counts[min_iou] += MatchCounts(matched, len(pairs), len(true))
    return OperatingPoint(threshold, counts, num_detected, num_false)


def event_average_precision(points: Sequence[OperatingPoint], min_iou: float) -> float:
    """Area under the precision-recall curve that the threshold traces, each recall with the best precision at it or
    above. NaN without events.
    """
    counts = [point.counts[min_iou] for point in points]
    if not counts or counts[0].num_events == 0:
        return float("nan")
    by_recall = sorted((count.recall, count.precision) for count in counts)
    recall, precision = np.array(by_recall).T
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.diff(recall, prepend=0.0) @ best)
