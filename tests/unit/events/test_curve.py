"""Tests."""

from __future__ import annotations

import numpy as np
import pytest

from avdetect.events.curve import Rescaling, log_odds


def rescaling(*pairs: tuple[float, float]) -> Rescaling:
    slope, bias = np.array(pairs).T
    return Rescaling(slope, bias)


def test_log_odds_are_multiplied_and_moved() -> None:
    scores = np.array([[0.5, 0.8]], np.float32)

    changed = rescaling((1.0, 1.0), (0.5, -1.0)).apply(scores)

    expected = 1 / (1 + np.exp(-np.array([0.0 + 1.0, 0.5 * np.log(4) - 1.0])))
    np.testing.assert_allclose(changed, [expected], rtol=1e-6)
    assert changed.dtype == np.float32


def test_without_a_change_the_scores_are_the_same_to_the_last_bit() -> None:
    scores = np.random.default_rng(0).random((5, 3)).astype(np.float32)

    assert rescaling((1.0, 0.0), (1.0, 0.0), (1.0, 0.0)).apply(scores) is scores
    np.testing.assert_array_equal(rescaling((1.0, 0.0), (1.0, 0.0), (2.0, 0.0)).apply(scores)[:, :2], scores[:, :2])


def test_nothing_heard_stays_nothing_heard() -> None:
    scores = np.array([[0.0], [1.0]], np.float32)

    np.testing.assert_array_equal(rescaling((0.3, 4.0)).apply(scores), scores)


@pytest.mark.parametrize("probability", [0.0, 1e-30, 0.3, 1.0])
def test_log_odds_are_finite(probability: float) -> None:
    assert np.isfinite(log_odds(np.array([probability], np.float32))).all()


def test_order_is_kept() -> None:
    scores = np.linspace(0, 1, 101, dtype=np.float32)[:, None]

    assert (np.diff(rescaling((0.4, -2.0)).apply(scores)[:, 0]) > 0).all()
