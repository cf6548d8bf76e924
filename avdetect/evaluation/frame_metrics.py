"""Metrics that need no threshold: ranking of frames, ranking of videos, and PSDS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.evaluation.ranking import (
    PrecisionRecall,
    frame_scores,
    frame_times,
    frames_inside,
    precision_recall,
    rank,
)
from avdetect.evaluation.result import EvaluatedVideo, FrameMetrics, VideoMetrics
from avdetect.events.curve import ScoreCurve
from avdetect.labels.videos import MODALITIES
from avdetect.timebase import Span

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """The frames of all videos, one after the other."""

    anomaly: NDArray[np.floating]
    """``(F,)``."""
    scores: NDArray[np.floating]
    """``(F, C)``."""
    inside: dict[str, NDArray[np.bool_]]
    """Per modality, whether a frame lies in an event of it, ``(F,)``."""
    inside_class: dict[str, NDArray[np.bool_]]
    """Per class of the scores, the same."""
    classes: tuple[str, ...]

    @staticmethod
    def of(videos: Sequence[EvaluatedVideo]) -> FrameTable:
        """Lay the videos, of which there is at least one, on frames."""
        parts = [FrameTable._of_one(video) for video in videos]
        classes = videos[0].curve.classes
        return FrameTable(
            anomaly=_joined(part.anomaly for part in parts),
            scores=_joined(part.scores for part in parts),
            inside={name: _joined(part.inside[name] for part in parts) for name in MODALITIES},
            inside_class={name: _joined(part.inside_class[name] for part in parts) for name in classes},
            classes=classes,
        )

    @staticmethod
    def _of_one(video: EvaluatedVideo) -> FrameTable:
        curve, events = video.curve, video.truth.events or ()
        times_s = frame_times(video.duration_s, video.truth.fps)
        return FrameTable(
            anomaly=frame_scores(curve.start_s, curve.anomaly, times_s),
            scores=frame_scores(curve.start_s, curve.scores, times_s),
            inside={
                name: frames_inside((event.span for event in events if event.modality == name), times_s)
                for name in MODALITIES
            },
            inside_class={name: frames_inside(video.truth.spans_of(name), times_s) for name in curve.classes},
            classes=curve.classes,
        )

    @property
    def inside_any(self) -> NDArray[np.bool_]:
        """For each frame, whether it lies in any event."""
        return np.asarray(np.any([self.inside[name] for name in MODALITIES], axis=0))

    def of_modality(self, modality: str) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
        """Return which frames lie in an event of ``modality``, and the anomaly score; leave out other events."""
        kept = ~np.any([self.inside[name] for name in MODALITIES if name != modality], axis=0)
        return self.inside[modality][kept], self.anomaly[kept]


def _joined(parts: Iterable[NDArray[Scalar]]) -> NDArray[Scalar]:
    return np.concatenate(list(parts))


def measure_frames(table: FrameTable, shared: Sequence[str]) -> FrameMetrics:
    """Measure the ranking of frames, for the classes ``shared`` by the detector and the material."""
    classes = {name: rank(table.inside_class[name], table.scores[:, table.classes.index(name)]) for name in shared}
    return FrameMetrics(
        anomaly=rank(table.inside_any, table.anomaly),
        modalities={name: rank(*table.of_modality(name)) for name in MODALITIES if table.inside[name].any()},
        classes=classes,
        mean_class_average_precision=mean_of_known(ranking.average_precision for ranking in classes.values()),
    )


def precision_recall_curves(table: FrameTable) -> dict[str, PrecisionRecall]:
    """Return the curves of the anomaly score: against any event, under ``any``, and against those of each modality."""
    curves = {"any": precision_recall(table.inside_any, table.anomaly)}
    for name in MODALITIES:
        if table.inside[name].any():
            curves[name] = precision_recall(*table.of_modality(name))
    return curves


def measure_videos(videos: Sequence[EvaluatedVideo], shared: Sequence[str]) -> VideoMetrics:
    """Measure the ranking of videos by their highest score."""
    highest = np.array([video.curve.scores.max(axis=0) for video in videos])
    anomaly = np.array([video.curve.anomaly.max() for video in videos])
    positive = np.array([video.truth.positive for video in videos])
    # A video that is positive without a class says nothing about the classes.
    named = np.array([bool(video.truth.classes) or not video.truth.positive for video in videos])
    classes = {}
    for name in shared:
        column = videos[0].curve.classes.index(name)
        holds = np.array([name in video.truth.classes for video in videos])
        classes[name] = rank(holds[named], highest[named, column])
    return VideoMetrics(
        anomaly=rank(positive, anomaly),
        classes=classes,
        mean_class_average_precision=mean_of_known(ranking.average_precision for ranking in classes.values()),
    )


def mean_of_known(values: Iterable[float]) -> float:
    """The mean of what is no NaN; NaN where all is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


_INTERSECTION = 0.5
"""DTC and GTC: the share of a detection that must lie in events, and of an event that detections must cover."""
_MAX_FALSE_PER_HOUR = 100.0
_TIME_DECIMALS = 6


def require_sed_scores_eval() -> None:
    """Notice before an hour of scoring that the score could not be computed.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        import sed_scores_eval  # noqa: F401
    except ImportError as error:
        raise UsageError(f"PSDS needs sed_scores_eval ({error}): pip install 'avdetect[evaluate]'.") from error


def psds(
    curves: Sequence[ScoreCurve],
    events: Sequence[Mapping[str, Sequence[Span]]],
    durations_s: Sequence[float],
    classes: Sequence[str],
) -> float:
    """PSDS of ``classes``: the area under the share of events found against false detections per hour, from 0 to 100 of
    them, over all thresholds; with ``DTC = GTC = 0.5``, and neither cross-triggers nor unevenness punished.

    It is computed from the fused scores alone, without the bundle's rules.

    Args:
        curves: one for each video.
        events: of each video, the spans of every class.
        durations_s: of each video.
        classes: which to count; each must be a class of the curves and occur in ``events``.

    Raises:
        UsageError: ``sed_scores_eval`` is not installed.
    """
    require_sed_scores_eval()
    from sed_scores_eval.base_modules.scores import create_score_dataframe
    from sed_scores_eval.intersection_based import psds as score_of

    columns = [curves[0].classes.index(name) for name in classes]
    names = [str(number) for number in range(len(curves))]
    tables = {}
    for name, curve, duration_s in zip(names, curves, durations_s, strict=True):
        scores, edges_s = curve.scores[:, columns], np.append(curve.start_s, max(duration_s, curve.end_s[-1]))
        tables[name] = create_score_dataframe(scores, np.round(edges_s, _TIME_DECIMALS), list(classes))
    truth = {
        name: [(span.start_s, span.end_s, label) for label in classes for span in spans.get(label, ())]
        for name, spans in zip(names, events, strict=True)
    }
    lengths = {name: float(tables[name]["offset"].iloc[-1]) for name in names}
    value, *_ = score_of(
        tables,
        truth,
        lengths,
        dtc_threshold=_INTERSECTION,
        gtc_threshold=_INTERSECTION,
        max_efpr=_MAX_FALSE_PER_HOUR,
        time_decimals=_TIME_DECIMALS,
    )
    return float(value)
