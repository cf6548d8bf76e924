"""Tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.evaluation.retrieval import (
    AskedTrack,
    PhraseCurve,
    answers,
    classification,
    localisation,
    order_accuracy,
    quiet_level,
    quiet_rule,
    recall,
)
from avdetect.events.curve import ScoreCurve
from avdetect.manifest import EventRule
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


Heard = tuple[Span, ...] | None


def track(*asked: tuple[list[float], Heard]) -> AskedTrack:
    """Snippets of a second; of each phrase its relevance and where it is heard."""
    scores = np.array([relevance for relevance, _ in asked], np.float32).T
    start_s = np.arange(len(scores), dtype=np.float64)
    curve = ScoreCurve(
        source="track",
        classes=tuple(f"phrase {number}" for number in range(len(asked))),
        anomaly_classes=(True,) * len(asked),
        start_s=start_s,
        end_s=start_s + 1,
        scores=scores,
        audio_scores=scores,
        visual_scores=np.zeros_like(scores),
        present=np.tile([True, False], (len(scores), 1)),
    )
    return AskedTrack(curve, tuple(heard for _, heard in asked))


RULE = EventRule(on=0.5, off=0.4, merge_gap_s=1.0)


def test_what_is_not_heard_is_to_have_no_result() -> None:
    found = answers([track(([0.1, 0.2], ()), ([0.1, 0.6], ()), ([0.4, 0.49], ()))], RULE)
    assert found.quiet_share == pytest.approx(2 / 3)
    assert found.num_absent == 3
    assert math.isnan(found.found_share)


def test_a_result_elsewhere_finds_nothing() -> None:
    here, elsewhere = ([0.1, 0.9, 0.1, 0.1], (Span(1.0, 1.5),)), ([0.1, 0.1, 0.1, 0.9], (Span(1.0, 1.5),))
    found = answers([track(here, elsewhere)], RULE)
    assert (found.found_share, found.num_heard) == (0.5, 2)


def test_what_is_not_known_to_be_heard_or_not_does_not_count() -> None:
    found = answers([track(([0.9, 0.9], None), ([0.1, 0.1], ()))], RULE)
    assert (found.num_absent, found.num_heard, found.quiet_share) == (1, 0, 1.0)


def test_the_rule_is_quiet_in_the_share_asked_for_and_in_no_more_than_it_takes() -> None:
    highest = np.random.default_rng(0).random(200)
    tracks = [track(([float(one) / 2, float(one)], ())) for one in highest]
    rule = quiet_rule(tracks, 0.9)
    assert answers(tracks, rule).quiet_share >= 0.9
    lower = rule.model_copy(update={"on": rule.on - 0.001, "off": 0.0})
    assert answers(tracks, lower).quiet_share < 0.9
    assert rule.off < rule.on


def test_what_is_heard_does_not_move_the_level() -> None:
    absent = ([0.3, 0.2], ())
    assert quiet_level([track(absent)], 0.5) == quiet_level([track(absent, ([0.9, 0.9], (Span(0, 1),)))], 0.5) == 0.301


def test_a_level_needs_something_that_is_not_heard() -> None:
    with pytest.raises(UsageError, match="every phrase is heard in every recording"):
        quiet_level([track(([0.9], (Span(0, 1),)))], 0.9)
    with pytest.raises(UsageError, match="between 0 and 1"):
        quiet_level([track(([0.9], ()))], 1.0)


def test_every_phrase_needs_to_be_known_of() -> None:
    curve = track(([0.1], ())).curve
    with pytest.raises(ValueError, match="1 phrases were asked for, it is known of 2"):
        AskedTrack(curve, ((), ()))
