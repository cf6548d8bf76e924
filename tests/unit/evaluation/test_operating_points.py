from __future__ import annotations

import math

import numpy as np
import pytest

from avdetect.evaluation.matching import MatchCounts
from avdetect.evaluation.operating_points import (
    OperatingPoint,
    ScoredSpans,
    event_average_precision,
    operating_points,
    thresholds_for,
)
from avdetect.timebase import Span


def point(threshold: float, matched: int, found: int, events: int) -> OperatingPoint:
    return OperatingPoint(threshold, {0.5: MatchCounts(matched, found, events)}, matched, found - matched)


def test_average_precision_is_the_area_under_the_best_precision_at_each_recall() -> None:
    points = [point(0.9, 1, 1, 4), point(0.5, 2, 4, 4), point(0.3, 3, 4, 4)]

    # Recall 1/4 at precision 1, then up to 3/4 at precision 3/4, which is better than 1/2 on the way.
    assert event_average_precision(points, 0.5) == pytest.approx(0.25 * 1 + 0.5 * 0.75)


def test_average_precision_does_not_depend_on_the_order_of_the_points() -> None:
    points = [point(0.9, 1, 1, 4), point(0.5, 2, 4, 4), point(0.3, 1, 8, 4)]

    assert event_average_precision(points[::-1], 0.5) == event_average_precision(points, 0.5)


def test_without_events_average_precision_is_not_known() -> None:
    assert math.isnan(event_average_precision([point(0.5, 0, 3, 0)], 0.5))


def test_thresholds_follow_the_scores_whatever_their_scale() -> None:
    scores = np.random.default_rng(0).random(500)

    plain, squeezed = thresholds_for(scores, 20), thresholds_for(scores**4 / 10, 20)

    np.testing.assert_allclose(squeezed, np.array(plain) ** 4 / 10)
    assert plain[0] == scores.max()
    assert (scores >= plain[-1]).mean() == pytest.approx(0.5, abs=0.01)


def test_each_point_counts_matches_noticed_events_and_false_detections() -> None:
    found = {0.5: [Span(0, 1)], 0.2: [Span(0, 1), Span(5, 6), Span(11, 19)]}

    points = operating_points(
        lambda threshold: [ScoredSpans(found[threshold], [threshold] * len(found[threshold]))],
        [[Span(0, 1), Span(10, 12)]],
        [0.5, 0.2],
        min_ious=[0.5],
    )

    assert points == [
        OperatingPoint(0.5, {0.5: MatchCounts(1, 1, 2)}, num_detected=1, num_false=0),
        OperatingPoint(0.2, {0.5: MatchCounts(1, 3, 2)}, num_detected=2, num_false=1),
    ]
