from __future__ import annotations

import pytest

from avdetect.evaluation.alarms import Detection, detect, merge_into_alarms
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

    found = [(item.label, item.span, item.confidence) for item in detect(scores, rules, latency_s=0.0)]

    events = decide_events(scores, rules)
    assert found == [(event.label, Span(event.start_s, event.end_s), event.confidence) for event in events]
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

    assert [(alarm.span, alarm.labels) for alarm in alarms] == [
        (Span(0, 7), ("scream", "crash")),
        (Span(8, 9), ("siren",)),
    ]
    assert (alarms[0].confidence, alarms[0].known_s) == (0.9, 5.0)
