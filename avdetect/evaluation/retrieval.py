"""How well sound and text are aligned: retrieval, order, localisation, classes.

Everything here takes numbers and knows nothing of the network that made them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.evaluation.asking import Answers
from avdetect.evaluation.frames import frame_scores, frame_times, frames_inside
from avdetect.evaluation.ranking import average_precision
from avdetect.timebase import Span

__all__ = [
    "Classification",
    "Localisation",
    "PhraseCurve",
    "Recall",
    "TextEvaluation",
    "classification",
    "localisation",
    "order_accuracy",
    "recall",
]

RECALL_AT = (1, 5, 10)
CURVE_FPS = 25.0
"""Frames that a relevance curve is laid on, so that sounds shorter than a snippet count as what they are."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the questions whose answer is among the first k, by k."""

    text_to_audio: dict[int, float]
    audio_to_text: dict[int, float]
    num_tracks: int


@dataclass(frozen=True, slots=True, eq=False)
class PhraseCurve:
    """A phrase, how relevant each snippet of a track is to it, and where it is heard."""

    start_s: NDArray[np.float64]
    """Of the snippets, ``(T,)``, rising."""
    relevance: NDArray[np.float32]
    """``(T,)``."""
    duration_s: float
    heard: tuple[Span, ...]
    """Empty for a phrase that is not heard in the track."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """How well relevance curves rank what is heard above what is not."""

    mean_average_precision: float
    """The mean over phrases of the AP inside their track."""
    pooled_average_precision: float
    """Of all frames of all curves together: one threshold must do for all phrases."""
    chance: float
    """The share of frames in which the phrase is heard: the AP of curves that know nothing."""
    num_phrases: int


@dataclass(frozen=True, slots=True)
class Classification:
    """Which of the prompted classes fits a sound best."""

    accuracy: float
    by_class: dict[str, float]
    chance: float
    num_sounds: int


@dataclass(frozen=True, slots=True)
class TextEvaluation:
    """All that could be measured; None for what the material does not allow."""

    retrieval: Recall | None
    order_accuracy: float | None
    """Share of the tracks that fit their story better than its twin with two sounds exchanged; chance is one half."""
    num_twins: int
    localisation: Localisation | None
    asking: dict[str, Answers]
    """What comes of asking every recording for every phrase, by kind of phrase."""
    classification: Classification | None


def recall(scores: NDArray[np.floating]) -> Recall:
    """Recall both ways from ``(N, N)`` scores, rows tracks and columns texts, each with its own on the diagonal.

    A text that scores the same as the right one is taken to come before it.
    """
    size = len(scores)
    right = np.diag(scores)
    others = ~np.eye(size, dtype=bool)
    better_texts = ((scores >= right[:, None]) & others).sum(axis=1)
    better_tracks = ((scores >= right[None, :]) & others).sum(axis=0)
    return Recall(
        text_to_audio={k: float((better_tracks < k).mean()) for k in RECALL_AT},
        audio_to_text={k: float((better_texts < k).mean()) for k in RECALL_AT},
        num_tracks=size,
    )


def order_accuracy(right: NDArray[np.floating], twins: NDArray[np.floating]) -> float:
    """Share of the tracks that score higher with the right story ``(N,)`` than with its twin ``(N,)``; a tie is
    wrong.
    """
    return float((right > twins).mean()) if right.size else math.nan


def localisation(curves: Sequence[PhraseCurve]) -> Localisation:
    """Of the curves of phrases that are heard; the others count in the pooled AP alone."""
    precisions, scores, truths = [], [], []
    for curve in curves:
        times_s = frame_times(curve.duration_s, CURVE_FPS)
        score = frame_scores(curve.start_s, curve.relevance, times_s)
        truth = frames_inside(curve.heard, times_s)
        if truth.any():
            precisions.append(average_precision(truth, score))
        scores.append(score)
        truths.append(truth)
    heard = np.concatenate(truths)
    return Localisation(
        mean_average_precision=float(np.mean(precisions)) if precisions else math.nan,
        pooled_average_precision=average_precision(heard, np.concatenate(scores)),
        chance=float(heard.mean()),
        num_phrases=len(curves),
    )


def classification(scores: NDArray[np.floating], labels: Sequence[str], class_names: Sequence[str]) -> Classification:
    """Accuracy of the highest of the scores ``(N, C)`` against ``labels``, each one of ``class_names``."""
    predicted = scores.argmax(axis=1)
    truth = np.array([class_names.index(label) for label in labels])
    hits = predicted == truth
    return Classification(
        accuracy=float(hits.mean()),
        by_class={name: float(hits[truth == index].mean()) for index, name in enumerate(class_names) if index in truth},
        chance=1 / len(class_names),
        num_sounds=len(labels),
    )
