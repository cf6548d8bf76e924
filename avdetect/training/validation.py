"""How well a network does on bags held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avdetect.evaluation.ranking import average_precision, frame_scores, frames_inside
from avdetect.labels.videos import LabelledVideo

__all__ = ["ValidationMetrics", "ValidationScores"]

FRAMES_PER_SNIPPET = 16
"""How finely a snippet is cut where spans are known."""


class ValidationMetrics(NamedTuple):
    """NaN where it cannot be said."""

    frame_ap: float
    """Of any event, over the frames of all videos; NaN unless the spans of all are known."""
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
        """Of all that was added, a video's crops averaged."""
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
