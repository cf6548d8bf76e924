"""Tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avdetect.evaluation.ranking import (
    average_precision,
    frame_scores,
    frame_times,
    frames_inside,
    precision_recall,
    rank,
    roc_auc,
)
from avdetect.timebase import Span


def test_average_precision_by_hand() -> None:
    positive = np.array([True, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.1])

    # Found at ranks 1 and 3: half of the recall at precision 1, half at 2/3.
    assert average_precision(positive, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_ties_are_taken_together() -> None:
    positive, scores = np.array([True, False, False]), np.array([0.5, 0.5, 0.5])

    assert average_precision(positive, scores) == pytest.approx(1 / 3)
    assert roc_auc(positive, scores) == 0.5


def test_roc_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    positive, scores = np.array([True, True, False, False]), np.array([0.9, 0.3, 0.5, 0.1])

    assert roc_auc(positive, scores) == 3 / 4


@pytest.mark.parametrize("seed", range(8))
def test_both_agree_with_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    positive = random.random(300) < 0.2
    scores = np.round(random.random(300) + 0.3 * positive, 1 + seed % 3)  # with many ties, and with few

    assert average_precision(positive, scores) == pytest.approx(metrics.average_precision_score(positive, scores))
    assert roc_auc(positive, scores) == pytest.approx(metrics.roc_auc_score(positive, scores))


def test_the_curve_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    positive, scores = random.random(50) < 0.4, np.round(random.random(50), 1)

    curve = precision_recall(positive, scores)

    precision, recall, threshold = metrics.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(curve.precision, precision[-2::-1])
    np.testing.assert_allclose(curve.recall, recall[-2::-1])
    np.testing.assert_allclose(curve.threshold, threshold[::-1])


def test_what_cannot_be_said_is_nan() -> None:
    scores = np.array([0.1, 0.2])

    assert math.isnan(average_precision(np.array([False, False]), scores))
    assert math.isnan(roc_auc(np.array([True, True]), scores))
    assert math.isnan(rank(np.zeros(0, np.bool_), np.zeros(0)).chance)


def test_chance_is_the_share_of_positives() -> None:
    assert rank(np.array([True, False, False, False]), np.array([0.1, 0.2, 0.3, 0.4])).chance == 0.25


def test_every_frame_has_the_score_of_the_snippet_it_starts_in() -> None:
    starts, scores = np.arange(3) * 0.64, np.array([0.1, 0.2, 0.3])

    on_frames = frame_scores(starts, scores, frame_times(1.92, 25))

    np.testing.assert_array_equal(on_frames, np.repeat(scores, 16))


def test_borders_of_snippets_are_exact_in_long_videos() -> None:
    count = 56_250  # ten hours
    starts = np.arange(count) * 0.64

    on_frames = frame_scores(starts, np.arange(count, dtype=np.float64), frame_times(count * 0.64, 25))

    np.testing.assert_array_equal(on_frames, np.repeat(np.arange(count), 16))


def test_frames_after_the_last_snippet_keep_its_score() -> None:
    on_frames = frame_scores(np.array([0.0]), np.array([0.7]), frame_times(2.0, 10))

    np.testing.assert_array_equal(on_frames, np.full(20, 0.7))


def test_an_event_holds_its_first_frame_and_not_its_last() -> None:
    inside = frames_inside([Span(0.2, 0.4), Span(0.8, 0.81)], frame_times(1.0, 10))

    assert np.flatnonzero(inside).tolist() == [2, 3, 8]
