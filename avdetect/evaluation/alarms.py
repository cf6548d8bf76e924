"""What an operator would be told, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event, SnippetScore
from avdetect.events.segmenter import EventSegmenter
from avdetect.manifest import EventRule
from avdetect.timebase import Span

__all__ = ["Alarm", "Detection", "detect", "merge_into_alarms"]


@dataclass(frozen=True, slots=True)
class Detection:
    """An event of the decoder, and the moment from which it is known."""

    label: str
    span: Span
    confidence: float
    known_s: float
    """Media time that has passed when it can be reported first: snippets have to end, smoothing and the minimum
    duration to be waited for, and the detector's lookahead. Compute time comes on top."""

    @staticmethod
    def of(event: Event, known_s: float) -> Detection:
        """From an event, known from ``known_s`` on."""
        return Detection(event.label, Span(event.start_s, event.end_s), event.confidence, known_s)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Detections of any class that overlap or touch: one thing to look at."""

    labels: tuple[str, ...]
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
        detections.extend(Detection.of(event, known_s.pop((event.label, event.start_s), now_s)) for event in events)

    for row in _rows(curve):
        now_s = row.span.end_s + latency_s
        settle(segmenter.push(row))
        for event in segmenter.open_events:
            known_s.setdefault((event.label, event.start_s), now_s)
    settle(segmenter.flush())
    return sorted(detections, key=lambda detection: (detection.span, detection.label))


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
        labels=tuple(dict.fromkeys(detection.label for detection in by_confidence)),
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
