from __future__ import annotations

import math

import numpy as np
import pytest

from avdetect.evaluation.ranking import average_precision, precision_recall, rank, roc_auc


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
