"""The progress of training: the figures of validation, and who is told of them: ``metrics.csv`` and an observer."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as lightning
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback

from avdetect.evaluation.ranking import average_precision, frame_scores, frames_inside
from avdetect.files import replacing
from avdetect.labels.videos import LabelledVideo

__all__ = [
    "DataPlan",
    "EpochReport",
    "MetricsLog",
    "TrainingObserver",
    "TrainingOutcome",
    "TrainingPlan",
    "ValidationMetrics",
    "ValidationScores",
]


@dataclass(frozen=True, slots=True)
class DataPlan:
    """The videos to train on and those held out, before anything is done."""

    num_train: int
    num_val: int
    videos_by_class: Mapping[str, tuple[int, int]]
    """Number of videos of each class to train on and to validate with; a video counts for each of its own.
    Those without any are under the empty name."""
    monitored: str | None
    """The metric by which epochs are compared; ``None`` where the videos held out cannot tell one from another."""
    cannot_choose: str | None
    """Why they cannot, as a sentence."""
    keeps_best: bool
    """The best epoch is kept, not the last."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The training that is about to begin."""

    recipe: str
    device: str
    """Torch's name of it, with the number of processes where there are several."""
    num_weights: int
    num_epochs: int
    num_done: int
    """Epochs that a run before this one has done."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The results of an epoch."""

    number: int
    """The first is 1."""
    metrics: Mapping[str, float]
    is_best: bool
    """The monitored metric is as high as the best before it: of equals the later one has learned more."""


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """The result of training."""

    checkpoint: Path
    epoch: int
    """The one that was kept, from 1."""
    flat_classes: tuple[str, ...]
    """Classes whose scores hardly differ from video to video, not even among those learned from."""


class TrainingObserver(Protocol):
    """Is told how training goes; in the first process only, where there are several."""

    def on_data(self, plan: DataPlan) -> None:
        """Called once, before embeddings are made and anything is trained."""
        ...

    def on_plan(self, plan: TrainingPlan) -> None:
        """Called once, before the first step."""
        ...

    def on_step(self, epoch: int, done: int, total: int) -> None:
        """Called after every step: ``done`` of the epoch's ``total`` are over. ``epoch`` counts from 1."""
        ...

    def on_epoch(self, report: EpochReport) -> None:
        """Called after every epoch."""
        ...

    def on_end(self, outcome: TrainingOutcome) -> None:
        """Called once, when the checkpoint is there."""
        ...


class MetricsLog(Callback):
    """Keeps a row per epoch in a CSV file, and tells the observer.

    The file is written anew after every epoch, whole. A run that goes on where another ended keeps its rows.

    Args:
        path: of the file.
        monitored: the metric of which more is better; ``None`` for none.
        observer: ``None`` for none.
    """

    def __init__(self, path: Path, monitored: str | None, observer: TrainingObserver | None) -> None:
        self._path = path
        self._monitored = monitored
        self._observer = observer
        self._rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Read what the epochs before came to."""
        if trainer.is_global_zero and trainer.current_epoch > 0:
            self._rows = [row for row in _read(self._path) if row["epoch"] < trainer.current_epoch]

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell the observer."""
        if trainer.is_global_zero and self._observer is not None:
            self._observer.on_step(trainer.current_epoch + 1, batch_idx + 1, int(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the epoch down, validation included."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        before = max((row.get(self._monitored or "", -math.inf) for row in self._rows), default=-math.inf)
        self._rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics})
        self._write()
        if self._observer is not None:
            value = metrics.get(self._monitored or "")
            is_best = value is not None and value >= before
            self._observer.on_epoch(EpochReport(trainer.current_epoch + 1, metrics, is_best))

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with replacing(self._path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


def _read(path: Path) -> list[dict[str, float]]:
    """The rows that are there; a file that is not, or that is damaged, is no reason not to go on."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error):
        return []
    return [
        row | {"epoch": int(row["epoch"]), "step": int(row["step"])} for row in rows if {"epoch", "step"} <= row.keys()
    ]


FRAMES_PER_SNIPPET = 16
"""Parts that a snippet is cut into where spans are known."""


class ValidationMetrics(NamedTuple):
    """NaN where it cannot be said."""

    frame_ap: float
    """AP of any event, over the frames of all videos; NaN unless the spans of all are known."""
    bag_ap: float
    """Mean over the classes that some videos have, others not."""


class ValidationScores:
    """Gathers the scores of the crops of each video.

    Args:
        records: the videos.
        labels: bool ``(videos, C)``.
        hop_s: seconds from snippet to snippet.
    """

    def __init__(self, records: Sequence[LabelledVideo], labels: NDArray[np.bool_], *, hop_s: float) -> None:
        self._records = records
        self._labels = labels
        self._hop_s = hop_s
        self._crops: dict[int, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}

    def add(self, video: int, snippets: NDArray[np.float32], bag: NDArray[np.float32]) -> None:
        """Probabilities of one crop: ``(T, C)`` and ``(C,)``."""
        self._crops.setdefault(video, []).append((snippets, bag))

    def metrics(self) -> ValidationMetrics:
        """Measure all that was added, a video's crops averaged."""
        videos = sorted(self._crops)
        bags = np.stack([np.mean([bag for _, bag in self._crops[video]], 0) for video in videos])
        aps = [average_precision(self._labels[videos, label], bags[:, label]) for label in range(bags.shape[1])]
        known = [ap for ap in aps if not math.isnan(ap)]
        return ValidationMetrics(self._frame_ap(videos), float(np.mean(known)) if known else math.nan)

    def _frame_ap(self, videos: Sequence[int]) -> float:
        scores, truths = [], []
        for video in videos:
            events = self._records[video].events
            if events is None:
                return math.nan
            snippets = np.mean([one for one, _ in self._crops[video]], 0).max(1)
            times_s = np.arange(len(snippets) * FRAMES_PER_SNIPPET, dtype=np.float64) * (
                self._hop_s / FRAMES_PER_SNIPPET
            )
            start_s = times_s[::FRAMES_PER_SNIPPET]
            scores.append(frame_scores(start_s, snippets, times_s))
            truths.append(frames_inside([event.span for event in events], times_s))
        return average_precision(np.concatenate(truths), np.concatenate(scores))
