"""What an evaluation gives. Numbers that cannot be said are NaN; ``docs/metrics.md`` defines them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avdetect.evaluation.alarms import Alarm, Detection
from avdetect.evaluation.matching import MatchCounts
from avdetect.evaluation.operating_points import OperatingPoint
from avdetect.evaluation.ranking import PrecisionRecall, Ranking
from avdetect.events.curve import ScoreCurve
from avdetect.labels.video import LabelledVideo, TrueEvent

__all__ = [
    "AlarmMetrics",
    "EvaluatedVideo",
    "Evaluation",
    "EventMetrics",
    "FalseAlarm",
    "FrameMetrics",
    "Material",
    "Missed",
    "VideoMetrics",
]


@dataclass(frozen=True, slots=True)
class EvaluatedVideo:
    """A video with all that is known and all that was said of it."""

    truth: LabelledVideo
    curve: ScoreCurve
    detections: tuple[Detection, ...]
    alarms: tuple[Alarm, ...]
    """Of the classes that count as anomaly."""

    @property
    def duration_s(self) -> float:
        """As the manifest says, else as far as it was scored."""
        return float(self.curve.end_s[-1]) if self.truth.duration_s is None else self.truth.duration_s


@dataclass(frozen=True, slots=True)
class Material:
    """What was evaluated on."""

    num_videos: int
    num_positive: int
    num_with_times: int
    """Videos of which it is known when what happens; the others only count for video-level metrics."""
    num_events: int
    hours: float
    hours_with_times: float
    normal_hours: float
    """Of videos in which nothing happens."""


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
    """What an operator would live with, at the bundle's thresholds."""

    false_per_hour: float
    """Alarms that overlap no event, per hour of all material whose events are known."""
    false_per_normal_hour: float
    """Alarms in videos in which nothing happens, per hour of them."""
    false_per_normal_hour_by_class: dict[str, float]
    """The same of each class's detections."""
    detected_share: float
    """The share of events that some alarm overlaps."""
    median_delay_s: float
    """From the start of such an event to the moment the alarm is known; an alarm that is known already has none."""
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
    """Of the anomaly score while it lasted."""


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
