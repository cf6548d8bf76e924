"""Tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avdetect.evaluation.alarms import (
    Detection,
    MatchCounts,
    OperatingPoint,
    ScoredSpans,
    detect,
    event_average_precision,
    ious,
    match,
    merge_into_alarms,
    operating_points,
    overlaps,
    thresholds_for,
)
from avdetect.events.segmenter import decide_events
from avdetect.manifest import EventRule
from avdetect.timebase import Span
from tests.unit.evaluation.synthetic import HOP_S, curve

SCORES = [[0.1], [0.1], [0.9], [0.9], [0.9], [0.1], [0.1], [0.1], [0.8], [0.1], [0.1]]


@pytest.mark.parametrize(
    ("rule", "snippets_waited"),
    [
        (EventRule(on=0.5, off=0.5), 1),  # until its first snippet has ended
        (EventRule(on=0.5, off=0.5, min_duration_s=2 * HOP_S), 2),  # until it is long enough
        (EventRule(on=0.6, off=0.5, smooth_snippets=3), 2),  # until the mean around its first snippet is known
    ],
)
def test_an_event_is_known_when_its_rule_is_met_and_the_lookahead_has_passed(
    rule: EventRule, snippets_waited: int
) -> None:
    first = detect(curve("a", ["bang"], SCORES), [rule], latency_s=1.28)[0]

    assert first.known_s == pytest.approx((2 + snippets_waited) * HOP_S + 1.28)


def test_the_detections_are_the_events_of_the_decoder() -> None:
    rules = [EventRule(on=0.5, off=0.5, merge_gap_s=1.0)]
    scores = curve("a", ["bang"], SCORES)

    found = [(item.class_name, item.span, item.confidence) for item in detect(scores, rules, latency_s=0.0)]

    events = decide_events(scores, rules)
    assert found == [(event.class_name, Span(event.start_s, event.end_s), event.confidence) for event in events]
    assert len(found) == 2


def test_an_event_that_is_still_open_at_the_end_was_known_when_it_opened() -> None:
    (only,) = detect(curve("a", ["bang"], [[0.1], [0.9], [0.9], [0.9]]), [EventRule()], latency_s=0.0)

    assert only.known_s == pytest.approx(2 * HOP_S)
    assert only.span.end_s == pytest.approx(4 * HOP_S)


def test_detections_that_overlap_or_touch_are_one_alarm() -> None:
    alarms = merge_into_alarms(
        [
            Detection("scream", Span(4, 6), 0.9, 5.0),
            Detection("crash", Span(0, 5), 0.6, 7.0),
            Detection("scream", Span(6, 7), 0.7, 7.5),
            Detection("siren", Span(8, 9), 0.5, 9.0),
        ]
    )

    assert [(alarm.span, alarm.class_names) for alarm in alarms] == [
        (Span(0, 7), ("scream", "crash")),
        (Span(8, 9), ("siren",)),
    ]
    assert (alarms[0].confidence, alarms[0].known_s) == (0.9, 5.0)


def test_overlap_is_intersection_over_union() -> None:
    found = ious([Span(0, 4), Span(10, 11)], [Span(2, 6), Span(0, 4)])

    np.testing.assert_allclose(found, [[2 / 6, 1], [0, 0]])


def test_spans_that_only_touch_do_not_overlap() -> None:
    assert not overlaps([Span(0, 1)], [Span(1, 2)]).any()


def test_the_best_score_takes_the_event_and_a_second_detection_of_it_is_false() -> None:
    pairs = match([Span(0, 4), Span(0, 5)], [0.4, 0.9], [Span(0, 4)], min_iou=0.5)

    assert pairs == [None, 0]


def test_a_detection_takes_the_free_event_it_overlaps_most() -> None:
    pairs = match([Span(0, 10), Span(0, 9)], [0.9, 0.8], [Span(0, 10), Span(4, 10)], min_iou=0.3)

    assert pairs == [0, 1]


def test_an_overlap_of_exactly_the_asked_share_counts() -> None:
    assert match([Span(0, 0.3)], [1.0], [Span(0, 1.0)], min_iou=0.3) == [0]
    assert match([Span(0, 0.29)], [1.0], [Span(0, 1.0)], min_iou=0.3) == [None]


def test_f1_by_hand() -> None:
    counts = MatchCounts(2, 4, 5) + MatchCounts(1, 1, 1)

    assert (counts.precision, counts.recall) == (3 / 5, 3 / 6)
    assert counts.f1 == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert MatchCounts().f1 == 0.0


@pytest.mark.filterwarnings("ignore")  # sed_eval and what it imports
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("min_iou", [0.3, 0.5])
def test_counts_agree_with_sed_eval_where_both_define_the_same(seed: int, min_iou: float) -> None:
    """Spans of one length L overlap by at least ``u`` exactly when their starts differ by at most L (1 - u) / (1 + u):
    then a collar around the start and the end asks for the same as the overlap.
    """
    sed_eval = pytest.importorskip("sed_eval")
    random = np.random.default_rng(seed)
    length_s = 4.0
    starts = np.arange(12) * 20.0
    true = [Span(start, start + length_s) for start in starts[random.random(12) < 0.8]]
    shifted = starts[random.random(12) < 0.8]
    shifted = shifted + random.uniform(-length_s, length_s, shifted.size)
    found = [Span(max(start, 0.0), max(start, 0.0) + length_s) for start in shifted]
    metrics = sed_eval.sound_event.EventBasedMetrics(
        ["event"], t_collar=length_s * (1 - min_iou) / (1 + min_iou), percentage_of_length=0.0
    )
    metrics.evaluate(*([_entry(span) for span in spans] for spans in (true, found)))

    pairs = match(found, random.random(len(found)).tolist(), true, min_iou=min_iou)

    counts = MatchCounts(sum(pair is not None for pair in pairs), len(found), len(true))
    theirs = metrics.results_overall_metrics()["f_measure"]
    assert 0 < counts.num_matched < len(found)
    assert counts.f1 == pytest.approx(theirs["f_measure"])
    assert (counts.precision, counts.recall) == pytest.approx((theirs["precision"], theirs["recall"]))


def _entry(span: Span) -> dict[str, object]:
    return {"filename": "a", "event_label": "event", "onset": span.start_s, "offset": span.end_s}


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
