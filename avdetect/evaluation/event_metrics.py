"""Metrics of events: spans against spans, alarms and their delays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from avdetect.evaluation.alarms import (
    Alarm,
    Detection,
    MatchCounts,
    OperatingPoint,
    ScoredSpans,
    event_average_precision,
    match,
    merge_into_alarms,
    operating_points,
    overlaps,
    thresholds_for,
)
from avdetect.evaluation.frame_metrics import mean_of_known
from avdetect.evaluation.result import AlarmMetrics, EvaluatedVideo, EventMetrics, FalseAlarm, Missed
from avdetect.events.rules import RuleOverrides
from avdetect.events.segmenter import decide_events
from avdetect.labels.videos import MODALITIES
from avdetect.manifest import EventRule
from avdetect.timebase import Span

F1_IOUS = (0.3, 0.5)
MAP_IOUS = (0.1, 0.2, 0.3, 0.4, 0.5)
_NUM_THRESHOLDS = 30
_SECONDS_PER_HOUR = 3600.0


def measure_events(
    videos: Sequence[EvaluatedVideo],
    rules: Sequence[EventRule],
    shared: Sequence[str],
    at_one_threshold: Sequence[OperatingPoint],
) -> EventMetrics:
    """Spans against spans, for the classes ``shared`` by the detector and the material."""
    class_points = {name: _class_points(videos, rules, name) for name in shared}
    return EventMetrics(
        alarms={iou: _total(_alarm_counts(video, iou) for video in videos) for iou in F1_IOUS},
        classes={
            name: {iou: _total(_class_counts(video, name, iou) for video in videos) for iou in F1_IOUS}
            for name in shared
        },
        modality_recall={
            name: recalls for name in MODALITIES if (recalls := _modality_recall(videos, name)) is not None
        },
        best_f1={iou: max((point.counts[iou].f1 for point in at_one_threshold), default=0.0) for iou in F1_IOUS},
        mean_average_precision={
            iou: mean_of_known(event_average_precision(points, iou) for points in class_points.values())
            for iou in MAP_IOUS
        },
    )


def _total(counts: Iterable[MatchCounts]) -> MatchCounts:
    return sum(counts, MatchCounts())


def _event_spans(video: EvaluatedVideo) -> list[Span]:
    return [event.span for event in video.truth.events or ()]


def _alarm_pairs(video: EvaluatedVideo, min_iou: float) -> list[int | None]:
    spans, scores = [alarm.span for alarm in video.alarms], [alarm.confidence for alarm in video.alarms]
    return match(spans, scores, _event_spans(video), min_iou=min_iou)


def _alarm_counts(video: EvaluatedVideo, min_iou: float) -> MatchCounts:
    pairs = _alarm_pairs(video, min_iou)
    return MatchCounts(sum(pair is not None for pair in pairs), len(pairs), len(video.truth.events or ()))


def _class_counts(video: EvaluatedVideo, name: str, min_iou: float) -> MatchCounts:
    found = [detection for detection in video.detections if detection.class_name == name]
    true = video.truth.spans_of(name)
    pairs = match([item.span for item in found], [item.confidence for item in found], true, min_iou=min_iou)
    return MatchCounts(sum(pair is not None for pair in pairs), len(pairs), len(true))


def _modality_recall(videos: Sequence[EvaluatedVideo], modality: str) -> dict[float, float] | None:
    """Per IoU; ``None`` where no event is of ``modality``."""
    num_events = sum(event.modality == modality for video in videos for event in video.truth.events or ())
    if num_events == 0:
        return None
    found = dict.fromkeys(F1_IOUS, 0)
    for video in videos:
        events = video.truth.events or ()
        for iou in F1_IOUS:
            pairs = _alarm_pairs(video, iou)
            found[iou] += sum(pair is not None and events[pair].modality == modality for pair in pairs)
    return {iou: count / num_events for iou, count in found.items()}


def alarm_points(videos: Sequence[EvaluatedVideo], rules: Sequence[EventRule]) -> list[OperatingPoint]:
    """Alarms at one threshold for all classes, for many thresholds."""
    curve = videos[0].curve
    wanted = [name for name, counts in zip(curve.classes, curve.anomaly_classes, strict=True) if counts]
    return operating_points(
        _decider(videos, rules, wanted),
        [_event_spans(video) for video in videos],
        thresholds_for(np.concatenate([video.curve.anomaly for video in videos]), _NUM_THRESHOLDS),
        min_ious=F1_IOUS,
    )


def _class_points(videos: Sequence[EvaluatedVideo], rules: Sequence[EventRule], name: str) -> list[OperatingPoint]:
    column = videos[0].curve.classes.index(name)
    return operating_points(
        _decider(videos, rules, [name]),
        [video.truth.spans_of(name) for video in videos],
        thresholds_for(np.concatenate([video.curve.scores[:, column] for video in videos]), _NUM_THRESHOLDS),
        min_ious=MAP_IOUS,
    )


def _decider(
    videos: Sequence[EvaluatedVideo], rules: Sequence[EventRule], wanted: Sequence[str]
) -> Callable[[float], list[ScoredSpans]]:
    """Return a function from a threshold to what ``rules`` find of the classes ``wanted``, joined."""

    def decide(threshold: float) -> list[ScoredSpans]:
        changed = RuleOverrides(threshold=threshold, classes=tuple(wanted)).apply(rules, videos[0].curve.classes)
        found = []
        for video in videos:
            events = decide_events(video.curve, changed)
            alarms = merge_into_alarms(Detection.of(event, event.end_s) for event in events)
            found.append(ScoredSpans([alarm.span for alarm in alarms], [alarm.confidence for alarm in alarms]))
        return found

    return decide


def measure_alarms(
    videos: Sequence[EvaluatedVideo], timed: Sequence[EvaluatedVideo], classes: Sequence[str]
) -> AlarmMetrics:
    """False alarms, and how soon events are known; ``timed`` are those of ``videos`` with known times."""
    normal = [video for video in videos if not video.truth.positive]
    delays_s = [delay for video in timed for delay in _delays_s(video)]
    num_events = sum(len(video.truth.events or ()) for video in timed)
    return AlarmMetrics(
        false_per_hour=_rate(sum(len(_false(video)) for video in timed), hours_of(timed)),
        false_per_normal_hour=_rate(sum(len(video.alarms) for video in normal), hours_of(normal)),
        false_per_normal_hour_by_class={
            name: _rate(
                sum(detection.class_name == name for video in normal for detection in video.detections),
                hours_of(normal),
            )
            for name in classes
        },
        detected_share=len(delays_s) / num_events if num_events else math.nan,
        median_delay_s=float(np.median(delays_s)) if delays_s else math.nan,
        p90_delay_s=float(np.quantile(delays_s, 0.9)) if delays_s else math.nan,
    )


def _false(video: EvaluatedVideo) -> list[Alarm]:
    touching = overlaps([alarm.span for alarm in video.alarms], _event_spans(video))
    return [alarm for alarm, row in zip(video.alarms, touching, strict=True) if not row.any()]


def _delays_s(video: EvaluatedVideo) -> list[float]:
    """Return the delay of each event that an alarm overlaps."""
    touching = overlaps([alarm.span for alarm in video.alarms], _event_spans(video))
    return [
        max(min(video.alarms[row].known_s for row in np.flatnonzero(column)) - event.span.start_s, 0.0)
        for event, column in zip(video.truth.events or (), touching.T, strict=True)
        if column.any()
    ]


def false_alarms(videos: Sequence[EvaluatedVideo]) -> tuple[FalseAlarm, ...]:
    """Alarms where nothing happens, the most confident first."""
    found = [FalseAlarm(video.truth.name, video.truth.path, alarm) for video in videos for alarm in _false(video)]
    return tuple(sorted(found, key=lambda item: -item.alarm.confidence))


def missed_events(videos: Sequence[EvaluatedVideo]) -> tuple[Missed, ...]:
    """Events that no alarm overlaps, the least noticed first."""
    found = []
    for video in videos:
        touching = overlaps([alarm.span for alarm in video.alarms], _event_spans(video))
        for event, column in zip(video.truth.events or (), touching.T, strict=True):
            if not column.any():
                during = (video.curve.end_s > event.span.start_s) & (video.curve.start_s < event.span.end_s)
                highest = float(video.curve.anomaly[during].max(initial=0.0))
                found.append(Missed(video.truth.name, video.truth.path, event, highest))
    return tuple(sorted(found, key=lambda item: item.highest_score))


def hours_of(videos: Iterable[EvaluatedVideo]) -> float:
    """Return the total length of ``videos`` in hours."""
    return sum(video.duration_s for video in videos) / _SECONDS_PER_HOUR


def _rate(count: int, hours: float) -> float:
    return count / hours if hours > 0 else math.nan
