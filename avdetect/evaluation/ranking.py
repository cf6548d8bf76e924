"""Scores laid on frames, and how well they rank what is positive above what is not: precision-recall and ROC."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.timebase import Span


def frame_times(duration_s: float, fps: float) -> NDArray[np.float64]:
    """Return the start of each frame, ``(frames,)``."""
    return np.arange(round(duration_s * fps)) / fps


def frame_scores(
    start_s: NDArray[np.float64], scores: NDArray[np.floating], times_s: NDArray[np.float64]
) -> NDArray[np.floating]:
    """The scores of snippets that start at ``start_s``, each repeated over its frames.

    A frame has the score of the last snippet that started by then; before the first, that of the first.

    Args:
        start_s: ``(N,)``, rising.
        scores: ``(N, ...)``.
        times_s: of the frames, ``(F,)``.

    Returns:
        ``(F, ...)``; zeros where there are no snippets.
    """
    if not start_s.size:
        return np.zeros((len(times_s), *scores.shape[1:]), scores.dtype)
    snippet = np.searchsorted(start_s, times_s + 1e-9, side="right") - 1  # 0.64 * 3 is a little more than 1.92
    return scores[np.maximum(snippet, 0)]


def frames_inside(spans: Iterable[Span], times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for each frame whether it lies in one of ``spans`` (half-open), ``(F,)``."""
    inside = np.zeros(len(times_s), np.bool_)
    for span in spans:
        first, last = np.searchsorted(times_s, (span.start_s - 1e-9, span.end_s - 1e-9))
        inside[first:last] = True
    return inside


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """One point for every distinct score, taken as the threshold, from the highest down."""

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    """Rises; NaN where nothing is positive."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranking metrics of one score; NaN where they are undefined."""

    average_precision: float
    roc_auc: float
    chance: float
    """The share of positives, which is the average precision of scores that know nothing."""


def rank(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Ranking:
    """All of ``Ranking``, for ``positive`` and ``scores`` of shape ``(N,)``."""
    chance = float(positive.mean()) if positive.size else math.nan
    return Ranking(average_precision(positive, scores), roc_auc(positive, scores), chance)


def precision_recall(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> PrecisionRecall:
    """The precision-recall curve of ``positive`` and ``scores``, both ``(N,)``."""
    threshold, hits, taken = _counts(positive, scores)
    with np.errstate(invalid="ignore"):
        return PrecisionRecall(threshold, hits / taken, hits / positive.sum())


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Area under the precision-recall curve as a sum of steps: the precision at each threshold, weighted by the recall
    that it adds (``sklearn.metrics.average_precision_score``). NaN where nothing is positive.
    """
    curve = precision_recall(positive, scores)
    return float(np.diff(curve.recall, prepend=0.0) @ curve.precision) if positive.any() else math.nan


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Probability that a positive scores higher than a negative, ties counting half. NaN unless there are both."""
    num_positive = int(positive.sum())
    num_negative = positive.size - num_positive
    if num_positive == 0 or num_negative == 0:
        return math.nan
    _, hits, taken = _counts(positive, scores)
    hit_rate = np.concatenate(([0.0], hits / num_positive))
    alarm_rate = np.concatenate(([0.0], (taken - hits) / num_negative))
    return float(np.diff(alarm_rate) @ (hit_rate[1:] + hit_rate[:-1]) / 2)


def _counts(
    positive: NDArray[np.bool_], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct scores from the highest down; how many positives, and how many of all, score at least that."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if ranked.size else np.zeros(0, np.int64)
    return (
        ranked[last_of_ties].astype(np.float64),
        np.cumsum(positive[order], dtype=np.int64)[last_of_ties],
        last_of_ties + 1,
    )
