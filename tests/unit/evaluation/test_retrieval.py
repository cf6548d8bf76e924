from __future__ import annotations

import math

import numpy as np
import pytest

from avdetect.evaluation.retrieval import PhraseCurve, classification, localisation, order_accuracy, recall
from avdetect.timebase import Span


def test_recall_counts_both_ways() -> None:
    scores = np.array([[3.0, 1.0, 0.0], [2.0, 1.5, 0.0], [5.0, 0.0, 4.0]])
    found = recall(scores)
    # Text 0 finds track 2 first; text 1 its own, text 2 its own. Track 1 and 2 find text 0 first.
    assert found.text_to_audio[1] == pytest.approx(2 / 3)
    assert found.audio_to_text[1] == pytest.approx(1 / 3)
    assert found.text_to_audio[5] == 1


def test_a_tie_is_no_find() -> None:
    assert recall(np.ones((4, 4))).text_to_audio[1] == 0


def test_order_needs_a_difference() -> None:
    assert order_accuracy(np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 2.0])) == pytest.approx(1 / 3)
    assert math.isnan(order_accuracy(np.zeros(0), np.zeros(0)))


def curve(relevance: list[float], *heard: Span) -> PhraseCurve:
    start_s = np.arange(len(relevance), dtype=np.float64)
    return PhraseCurve(start_s, np.array(relevance, np.float32), float(len(relevance)), heard)


def test_a_curve_that_is_high_where_it_should_be_is_perfect() -> None:
    found = localisation([curve([0.1, 0.9, 0.1, 0.1], Span(1, 2))])
    assert (found.mean_average_precision, found.pooled_average_precision, found.chance) == (1, 1, 0.25)


def test_curves_of_different_heights_are_worse_together_than_alone() -> None:
    found = localisation([curve([0.1, 0.2], Span(1, 2)), curve([0.8, 0.9], Span(1, 2))])
    assert found.mean_average_precision == 1
    assert found.pooled_average_precision < 1


def test_a_phrase_that_is_not_heard_counts_in_the_pool_alone() -> None:
    found = localisation([curve([0.1, 0.5], Span(1, 2)), curve([0.9, 0.9])])
    assert found.mean_average_precision == 1
    assert found.pooled_average_precision == pytest.approx(1 / 3)


def test_classes_are_counted() -> None:
    found = classification(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.3]]), ["a", "b", "b"], ["a", "b"])
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.by_class == {"a": 1.0, "b": 0.5}
    assert found.chance == 0.5
