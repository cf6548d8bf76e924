"""Evaluation of a detector on videos whose events are known: START READING HERE.

    avdetect/labels                         what happens in the videos
    frame_metrics.py: frames, ranking       how well scores rank frames and videos
    event_metrics.py: alarms, matching,     what the decoder finds, at the bundle's thresholds and at others
        operating_points

``docs/metrics.md`` defines every number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from avdetect.errors import UsageError
from avdetect.evaluation.alarms import detect, merge_into_alarms
from avdetect.evaluation.event_metrics import (
    alarm_points,
    false_alarms,
    hours_of,
    measure_alarms,
    measure_events,
    missed_events,
)
from avdetect.evaluation.frame_metrics import FrameTable, measure_frames, measure_videos, precision_recall_curves, psds
from avdetect.evaluation.result import EvaluatedVideo, Evaluation, Material
from avdetect.events.curve import ScoreCurve
from avdetect.events.rules import rules_for
from avdetect.files import real_path
from avdetect.labels.videos import UNNAMED_EVENT, LabelledVideo
from avdetect.manifest import EventRule, Manifest
from avdetect.timebase import Span


def pair_with_curves(
    videos: Sequence[LabelledVideo], curves: Sequence[ScoreCurve]
) -> list[tuple[LabelledVideo, ScoreCurve]]:
    """Find the curve of each video: its source is the video's path, or ends with its name in the list.

    Where the curve has a class for events without a name, all that happens in the video is of that class.

    Raises:
        UsageError: a video has no curve; the message names some.
    """
    by_path = {real_path(curve.source): curve for curve in curves}
    by_name = {}
    names = {Path(video.name).parts for video in videos}
    for curve in curves:
        parts = Path(curve.source).parts
        by_name.update({parts[-length:]: curve for length in range(1, len(parts) + 1) if parts[-length:] in names})
    pairs, missing = [], []
    for video in videos:
        curve_or_none = by_path.get(real_path(video.path)) or by_name.get(Path(video.name).parts)
        if curve_or_none is None:
            missing.append(video.name)
        else:
            pairs.append((_as_known_to(video, curve_or_none.classes), curve_or_none))
    if missing:
        raise UsageError(f"there are no scores of {len(missing)} of {len(videos)} videos, such as {missing[0]}.")
    return pairs


def _as_known_to(video: LabelledVideo, classes: Sequence[str]) -> LabelledVideo:
    """Return ``video`` as a detector of unnamed events knows it: whatever happens is one."""
    if UNNAMED_EVENT not in classes or not video.positive:
        return video
    events = video.events
    if events is not None:
        events = tuple(
            replace(event, parts=(*(part for part in event.parts if part[0] in classes), (UNNAMED_EVENT, event.span)))
            for event in events
        )
    return replace(video, classes=video.classes & set(classes) | {UNNAMED_EVENT}, events=events)


def evaluate(
    pairs: Sequence[tuple[LabelledVideo, ScoreCurve]], manifest: Manifest, *, with_psds: bool = False
) -> Evaluation:
    """Compare what the detector says with what is so.

    Args:
        pairs: each video and its scores, all of the same classes.
        manifest: of the bundle, for its rules and its lookahead.
        with_psds: whether to compute PSDS, which needs ``sed_scores_eval``.

    Raises:
        UsageError: there is nothing to evaluate, the scores differ in their classes, or a package is missing.
    """
    if not pairs:
        raise UsageError("there is no video to evaluate.")
    classes = pairs[0][1].classes
    if any(curve.classes != classes for _, curve in pairs):
        raise UsageError("the scores are of different classes: score all videos with the same bundle.")
    unscored = [truth.name for truth, curve in pairs if not len(curve.scores)]
    if unscored:
        raise UsageError(f"there is no score of {unscored[0]}: no part of it was scored.")
    rules = rules_for(classes, manifest)
    # The offline form says nothing before the end of a file: no delay can be measured.
    latency_s = math.nan if manifest.require_detector().form == "offline" else manifest.latency_s
    videos = [_evaluated(truth, curve, rules, latency_s) for truth, curve in pairs]
    timed = [video for video in videos if video.truth.events is not None]
    has_events = any(video.truth.events for video in timed)
    occurring = {name for video in videos for name in video.truth.classes}
    shared = [name for name in classes if name in occurring]
    table = FrameTable.of(timed) if has_events else None
    points = alarm_points(timed, rules) if has_events else []
    return Evaluation(
        material=_material(videos, timed),
        frames=measure_frames(table, shared) if table else None,
        videos=measure_videos(videos, shared),
        events=measure_events(timed, rules, shared, points) if has_events else None,
        alarms=measure_alarms(videos, timed, classes),
        psds=_psds(timed, shared) if with_psds and has_events else None,
        classes_not_known=tuple(sorted(occurring - set(classes))),
        precision_recall=precision_recall_curves(table) if table else {},
        points=tuple(points),
        false_alarms=false_alarms(timed),
        missed=missed_events(timed),
    )


def _evaluated(truth: LabelledVideo, curve: ScoreCurve, rules: Sequence[EventRule], latency_s: float) -> EvaluatedVideo:
    detections = detect(curve, rules, latency_s=latency_s)
    anomaly = {name for name, counts in zip(curve.classes, curve.anomaly_classes, strict=True) if counts}
    alarms = merge_into_alarms(detection for detection in detections if detection.class_name in anomaly)
    return EvaluatedVideo(truth, curve, tuple(detections), tuple(alarms))


def _material(videos: Sequence[EvaluatedVideo], timed: Sequence[EvaluatedVideo]) -> Material:
    return Material(
        num_videos=len(videos),
        num_positive=sum(video.truth.positive for video in videos),
        num_with_times=len(timed),
        num_events=sum(len(video.truth.events or ()) for video in timed),
        hours=hours_of(videos),
        hours_with_times=hours_of(timed),
        normal_hours=hours_of(video for video in videos if not video.truth.positive),
    )


def _psds(videos: Sequence[EvaluatedVideo], shared: Sequence[str]) -> float:
    timed_classes = [name for name in shared if any(video.truth.spans_of(name) for video in videos)]
    events: list[Mapping[str, Sequence[Span]]] = [
        {name: video.truth.spans_of(name) for name in timed_classes} for video in videos
    ]
    return psds([video.curve for video in videos], events, [video.duration_s for video in videos], timed_classes)
