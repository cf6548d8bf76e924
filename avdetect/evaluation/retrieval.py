"""Metrics of the alignment of sound and text: questions, retrieval, order, localisation, classes.

Everything here takes numbers and knows nothing of the network that made them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.evaluation.ranking import average_precision, frame_scores, frame_times, frames_inside
from avdetect.events.curve import ScoreCurve
from avdetect.events.segmenter import decide_events
from avdetect.manifest import EventRule
from avdetect.timebase import Span

_OFF_SHARE = 0.7
"""Ratio of the closing level of a result to its opening level, as in the detector's rules."""
_LEVELS_PER_ONE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class AskedTrack:
    """A recording, and how relevant each of its snippets is to each of P phrases."""

    curve: ScoreCurve
    """A class for each phrase."""
    heard: tuple[tuple[Span, ...] | None, ...]
    """Spans in which each phrase is heard: empty where it is not, None where that is not known."""

    def __post_init__(self) -> None:
        if len(self.heard) != len(self.curve.classes):
            raise ValueError(f"{len(self.curve.classes)} phrases were asked for, it is known of {len(self.heard)}.")


@dataclass(frozen=True, slots=True)
class Answers:
    """Counts of the pairs of a phrase and a recording that are answered well."""

    quiet_share: float
    """Share of the pairs without the phrase that have no result; NaN without any."""
    found_share: float
    """Share of the pairs with the phrase that have a result overlapping with it; NaN without any."""
    num_absent: int
    num_heard: int


def answers(tracks: Sequence[AskedTrack], rule: EventRule) -> Answers:
    """Ask every track for every phrase, by ``rule``."""
    quiet: list[bool] = []
    found: list[bool] = []
    for track in tracks:
        rules = [None if heard is None else rule for heard in track.heard]
        results: dict[str, list[Span]] = {name: [] for name in track.curve.classes}
        for event in decide_events(track.curve, rules):
            results[event.class_name].append(Span(event.start_s, event.end_s))
        for name, heard in zip(track.curve.classes, track.heard, strict=True):
            if heard == ():
                quiet.append(not results[name])
            elif heard is not None:
                found.append(any(_overlap(one, other) for one in results[name] for other in heard))
    return Answers(
        quiet_share=float(np.mean(quiet)) if quiet else math.nan,
        found_share=float(np.mean(found)) if found else math.nan,
        num_absent=len(quiet),
        num_heard=len(found),
    )


def quiet_rule(tracks: Sequence[AskedTrack], share: float) -> EventRule:
    """The rule that opens as early as it can and is quiet in ``share`` of the pairs in which the phrase is not heard.

    Relevance is not smoothed, and no result is too short: a shot is over within a snippet. Means over 3 and 5 snippets
    find no more with the same share.

    Raises:
        UsageError: every phrase is heard in every track, or the share is not between 0 and 1.
    """
    on = quiet_level(tracks, share)
    return EventRule(on=on, off=round(_OFF_SHARE * on, 3))


def quiet_level(tracks: Sequence[AskedTrack], share: float) -> float:
    """The lowest relevance, in steps of 0.001, that ``share`` of the pairs without the phrase stay below.

    Raises:
        UsageError: as for ``quiet_rule``.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share of questions to stay quiet on must be between 0 and 1, got {share:g}.")
    highest = np.sort(np.concatenate([_highest_where_absent(track) for track in tracks] or [np.zeros(0)]))
    if not highest.size:
        raise UsageError("every phrase is heard in every recording: nothing says when to stay quiet.")
    last = float(highest[math.ceil(share * highest.size) - 1])
    return min((math.floor(last * _LEVELS_PER_ONE) + 1) / _LEVELS_PER_ONE, 1.0)


def _highest_where_absent(track: AskedTrack) -> NDArray[np.float64]:
    """Return the highest relevance of every phrase that is not heard, ``(phrases,)``."""
    columns = [column for column, heard in enumerate(track.heard) if heard == ()]
    return np.asarray(track.curve.scores[:, columns].max(axis=0, initial=0.0), np.float64)


def _overlap(one: Span, other: Span) -> bool:
    return one.start_s < other.end_s and other.start_s < one.end_s


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
    """Starts of the snippets, ``(T,)``, rising."""
    relevance: NDArray[np.float32]
    """``(T,)``."""
    duration_s: float
    heard: tuple[Span, ...]
    """Empty for a phrase that is not heard in the track."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """Ranking metrics of relevance curves: what is heard against what is not."""

    mean_average_precision: float
    """The mean over phrases of the AP inside their track."""
    pooled_average_precision: float
    """AP of all frames of all curves together: one threshold must do for all phrases."""
    chance: float
    """The share of frames in which the phrase is heard: the AP of curves that know nothing."""
    num_phrases: int


@dataclass(frozen=True, slots=True)
class Classification:
    """Accuracy of choosing the prompted class that fits a sound best."""

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
    """Answers to asking every recording for every phrase, by kind of phrase."""
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
    """Measure the curves of phrases that are heard; the others count only in the pooled AP."""
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
