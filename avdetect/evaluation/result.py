"""The result of an evaluation, and its JSON document. Undefined numbers are NaN, and null in the document.

``docs/metrics.md`` defines them all. Within a major version of ``SCHEMA_VERSION`` fields are added, never changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avdetect.evaluation.alarms import Alarm, Detection, MatchCounts, OperatingPoint
from avdetect.evaluation.ranking import PrecisionRecall, Ranking
from avdetect.events.curve import ScoreCurve
from avdetect.labels.videos import LabelledVideo, TrueEvent
from avdetect.manifest import Manifest


@dataclass(frozen=True, slots=True)
class EvaluatedVideo:
    """A video with all that is known and all that was said of it."""

    truth: LabelledVideo
    curve: ScoreCurve
    detections: tuple[Detection, ...]
    alarms: tuple[Alarm, ...]
    """Alarms of the classes that count as anomaly."""

    @property
    def duration_s(self) -> float:
        """The duration in the list, or else the length that was scored."""
        return float(self.curve.end_s[-1]) if self.truth.duration_s is None else self.truth.duration_s


@dataclass(frozen=True, slots=True)
class Material:
    """The material of an evaluation."""

    num_videos: int
    num_positive: int
    num_with_times: int
    """Videos of which it is known when what happens; the others only count for video-level metrics."""
    num_events: int
    hours: float
    hours_with_times: float
    normal_hours: float
    """Hours of videos in which nothing happens."""


@dataclass(frozen=True, slots=True)
class FrameMetrics:
    """Every frame of every video with known times, normal ones included."""

    anomaly: Ranking
    """The anomaly score against any event."""
    modalities: dict[str, Ranking]
    """The anomaly score against the events of one modality, the frames of the other events left out."""
    classes: dict[str, Ranking]
    """The score of a class against its own spans."""
    mean_class_average_precision: float


@dataclass(frozen=True, slots=True)
class VideoMetrics:
    """Every video by its highest score."""

    anomaly: Ranking
    classes: dict[str, Ranking]
    mean_class_average_precision: float


@dataclass(frozen=True, slots=True)
class EventMetrics:
    """Spans against spans; by the overlap (IoU) that a match needs."""

    alarms: dict[float, MatchCounts]
    """Alarms of any class against events of any class, at the bundle's thresholds."""
    classes: dict[str, dict[float, MatchCounts]]
    """Detections of a class against its own spans, at the bundle's thresholds."""
    modality_recall: dict[str, dict[float, float]]
    """The share of a modality's events that an alarm was matched with."""
    best_f1: dict[float, float]
    """The highest F1 of alarms that one threshold for all classes can reach on this material."""
    mean_average_precision: dict[float, float]
    """The mean over classes of the area under the precision-recall curve of their detections."""


@dataclass(frozen=True, slots=True)
class AlarmMetrics:
    """Rates and delays of alarms at the bundle's thresholds, as an operator would meet them."""

    false_per_hour: float
    """Alarms that overlap no event, per hour of all material whose events are known."""
    false_per_normal_hour: float
    """Alarms in videos in which nothing happens, per hour of them."""
    false_per_normal_hour_by_class: dict[str, float]
    """The same of each class's detections."""
    detected_share: float
    """The share of events that some alarm overlaps."""
    median_delay_s: float
    """Median delay from the start of such an event to the moment the alarm is known; 0 for an alarm known already."""
    p90_delay_s: float


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """An alarm where nothing happens."""

    video: str
    path: Path
    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Missed:
    """An event that no alarm overlaps."""

    video: str
    path: Path
    event: TrueEvent
    highest_score: float
    """Highest anomaly score while the event lasted."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything; ``None`` for what needs times or packages that are not there."""

    material: Material
    frames: FrameMetrics | None
    videos: VideoMetrics
    events: EventMetrics | None
    alarms: AlarmMetrics
    psds: float | None
    classes_not_known: tuple[str, ...]
    """Classes that occur and that the detector does not have."""
    precision_recall: dict[str, PrecisionRecall]
    """The curves of the frame metrics, the anomaly's under ``any``."""
    points: tuple[OperatingPoint, ...]
    """Alarms at other thresholds, one for all classes."""
    false_alarms: tuple[FalseAlarm, ...]
    """The most confident first."""
    missed: tuple[Missed, ...]
    """The least noticed first."""


SCHEMA_VERSION = "2.0"
_DIGITS = 6


def evaluation_document(
    evaluation: Evaluation, *, list_path: str, bundle: Manifest | None, avdetect_version: str, num_worst: int
) -> dict[str, object]:
    """All of ``evaluation`` but its curves, as values that ``json`` takes; ``None`` for what cannot be said.

    Args:
        evaluation: what to write.
        list_path: what was evaluated on.
        bundle: what was evaluated; ``None`` for scores of unknown origin.
        avdetect_version: of this package.
        num_worst: how many false alarms and missed events to list.
    """
    events = evaluation.events
    return {
        "schema_version": SCHEMA_VERSION,
        "avdetect": avdetect_version,
        "bundle": None if bundle is None else {"name": bundle.name, "version": bundle.version},
        "list": list_path,
        "material": plain(asdict(evaluation.material)),
        "classes_not_known": list(evaluation.classes_not_known),
        "frames": None if evaluation.frames is None else plain(asdict(evaluation.frames)),
        "videos": plain(asdict(evaluation.videos)),
        "events": None
        if events is None
        else {
            "alarms": _by_iou(events.alarms),
            "classes": {name: _by_iou(counts) for name, counts in events.classes.items()},
            "modality_recall": plain(events.modality_recall),
            "best_f1": plain(events.best_f1),
            "mean_average_precision": plain(events.mean_average_precision),
        },
        "alarms": plain(asdict(evaluation.alarms)),
        "psds": plain(evaluation.psds),
        "worst_false_alarms": [_false_alarm(item) for item in evaluation.false_alarms[:num_worst]],
        "worst_missed": [_missed(item) for item in evaluation.missed[:num_worst]],
    }


def _by_iou(counts: Mapping[float, MatchCounts]) -> dict[str, object]:
    return {
        f"{iou:g}": plain({"precision": each.precision, "recall": each.recall, "f1": each.f1, **asdict(each)})
        for iou, each in counts.items()
    }


def _false_alarm(item: FalseAlarm) -> dict[str, object]:
    alarm = item.alarm
    return {
        "video": item.video,
        "start_s": plain(alarm.span.start_s),
        "end_s": plain(alarm.span.end_s),
        "classes": list(alarm.class_names),
        "confidence": plain(alarm.confidence),
    }


def _missed(item: Missed) -> dict[str, object]:
    return {
        "video": item.video,
        "start_s": plain(item.event.span.start_s),
        "end_s": plain(item.event.span.end_s),
        "class": item.event.class_name,
        "modality": item.event.modality,
        "highest_score": plain(item.highest_score),
    }


def plain(value: Any) -> Any:
    """``value`` with rounded numbers, ``None`` for NaN, and keys that are strings."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else f"{key:g}": plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
