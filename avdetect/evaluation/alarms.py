"""Alarms that an operator would get: when, which events they find, and what they cost at other thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event, SnippetScore
from avdetect.events.segmenter import EventSegmenter
from avdetect.manifest import EventRule
from avdetect.timebase import Span


@dataclass(frozen=True, slots=True)
class Detection:
    """An event of the decoder, and the moment from which it is known."""

    class_name: str
    span: Span
    confidence: float
    known_s: float
    """Media time that has passed when it can be reported first: snippets have to end, smoothing and the minimum
    duration to be waited for, and the detector's lookahead. Compute time comes on top."""

    @staticmethod
    def of(event: Event, known_s: float) -> Detection:
        """Build a detection from an event that is known from ``known_s`` on."""
        return Detection(event.class_name, Span(event.start_s, event.end_s), event.confidence, known_s)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Detections of any class that overlap or touch: one thing to look at."""

    class_names: tuple[str, ...]
    """The most confident first."""
    span: Span
    confidence: float
    known_s: float


def detect(curve: ScoreCurve, rules: Sequence[EventRule | None], *, latency_s: float) -> list[Detection]:
    """The events that ``rules`` make of ``curve``, in the order of their start, found as a live feed would find them.

    Args:
        curve: the scores.
        rules: one for each class of the curve; ``None`` for a class whose events are not wanted.
        latency_s: how long after a snippet's end its score is known.
    """
    segmenter = EventSegmenter(curve.classes, rules, hop_s=1.0)  # its latency, all it needs the hop for, is not asked
    known_s: dict[tuple[str, float], float] = {}
    detections: list[Detection] = []
    now_s = 0.0

    def settle(events: Iterable[Event]) -> None:
        detections.extend(
            Detection.of(event, known_s.pop((event.class_name, event.start_s), now_s)) for event in events
        )

    for row in _rows(curve):
        now_s = row.span.end_s + latency_s
        settle(segmenter.push(row))
        for event in segmenter.open_events:
            known_s.setdefault((event.class_name, event.start_s), now_s)
    settle(segmenter.flush())
    return sorted(detections, key=lambda detection: (detection.span, detection.class_name))


def merge_into_alarms(detections: Iterable[Detection]) -> list[Alarm]:
    """Join detections that overlap or touch, in the order of their start."""
    groups: list[list[Detection]] = []
    end_s = -1.0
    for detection in sorted(detections, key=lambda detection: detection.span):
        if not groups or detection.span.start_s > end_s:
            groups.append([])
            end_s = detection.span.end_s
        groups[-1].append(detection)
        end_s = max(end_s, detection.span.end_s)
    return [_alarm(group) for group in groups]


def _alarm(group: Sequence[Detection]) -> Alarm:
    by_confidence = sorted(group, key=lambda detection: -detection.confidence)
    return Alarm(
        class_names=tuple(dict.fromkeys(detection.class_name for detection in by_confidence)),
        span=Span(min(item.span.start_s for item in group), max(item.span.end_s for item in group)),
        confidence=by_confidence[0].confidence,
        known_s=min(item.known_s for item in group),
    )


def _rows(curve: ScoreCurve) -> Iterable[SnippetScore]:
    for t, (start_s, end_s) in enumerate(zip(curve.start_s.tolist(), curve.end_s.tolist(), strict=True)):
        yield SnippetScore(
            index=t,
            span=Span(start_s, end_s),
            scores=curve.scores[t],
            audio_scores=curve.audio_scores[t],
            visual_scores=curve.visual_scores[t],
            audio_present=bool(curve.present[t, 0]),
            visual_present=bool(curve.present[t, 1]),
        )


_TOLERANCE = 1e-9
"""An overlap of exactly the asked share counts, whatever the last bit says."""


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Numbers of detections, of events, and of pairs of both."""

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
    """Tell for each pair whether it has any time in common, ``(detections, events)``."""
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
    """Counts by the overlap that a match needs."""
    num_detected: int
    """Events that some detection overlaps at all."""
    num_false: int
    """Detections that overlap no event at all."""


def thresholds_for(scores: NDArray[np.floating], count: int) -> list[float]:
    """Choose at most ``count`` thresholds, highest first, spread over the upper scores whatever their scale.

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
