from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.events import segmenter as segmenter_module
from avdetect.events.curve import CurveBuilder, ScoreCurve
from avdetect.events.event import Event, SnippetScore
from avdetect.events.segmenter import EventSegmenter, decide_events
from avdetect.manifest import EventRule
from avdetect.stage import through
from avdetect.timebase import snippet_span
from tests.unit.events.obvious import Moment, obvious_events

HOP = Fraction(16, 25)
SHARP = EventRule(on=0.5, off=0.3, merge_gap_s=0.0)


def snippet(
    index: int,
    scores: Sequence[float],
    *,
    audio: Sequence[float] | None = None,
    visual: Sequence[float] | None = None,
    seen: bool = True,
) -> SnippetScore:
    return SnippetScore(
        index=index,
        span=snippet_span(index, HOP),
        scores=np.array(scores, np.float32),
        audio_scores=np.array(scores if audio is None else audio, np.float32),
        visual_scores=np.array(scores if visual is None else visual, np.float32),
        audio_present=seen,
        visual_present=seen,
    )


def snippets(*scores: float) -> list[SnippetScore]:
    return [snippet(index, [score]) for index, score in enumerate(scores)]


def stream(items: Sequence[SnippetScore], *rules: EventRule) -> list[Event]:
    return list(through(items, EventSegmenter(names(rules), rules, float(HOP))))


def offline(items: Sequence[SnippetScore], *rules: EventRule) -> list[Event]:
    return decide_events(curve_of(items, len(rules)), rules)


def curve_of(items: Sequence[SnippetScore], num_classes: int) -> ScoreCurve:
    builder = CurveBuilder("clip.mp4", [f"c{k}" for k in range(num_classes)], [True] * num_classes)
    for item in items:
        builder.add(item)
    return builder.build()


def names(rules: Sequence[object]) -> list[str]:
    return [f"c{k}" for k in range(len(rules))]


def spans(events: Sequence[Event]) -> list[tuple[float, float]]:
    """In snippets, which are easier to read than seconds."""
    return [
        (round(event.start_s / float(HOP), 6), round(event.end_s / float(HOP), 6))
        for event in sorted(events, key=lambda event: event.start_s)
    ]


def both_ways(items: Sequence[SnippetScore], rule: EventRule) -> list[Event]:
    events = stream(items, rule)
    assert offline(items, rule) == events
    return events


def test_an_event_lasts_from_the_first_score_at_on_to_the_last_at_off() -> None:
    events = both_ways(
        snippets(0.4, 0.5, 0.3, 0.9, 0.29, 0.4), SHARP.model_copy(update={"off": float(np.float32(0.3))})
    )
    assert spans(events) == [(1, 4)]
    assert events[0].confidence == pytest.approx(0.9)
    assert events[0].peak_s == pytest.approx(3.5 * 0.64)


def test_an_open_event_is_closed_at_the_end_of_the_stream() -> None:
    segmenter = EventSegmenter(["c0"], [SHARP], float(HOP))
    assert [event for item in snippets(0.1, 0.9, 0.9) for event in segmenter.push(item)] == []
    assert spans(segmenter.flush()) == [(1, 3)]
    assert segmenter.flush() == []


def test_the_peak_is_the_first_of_equal_ones() -> None:
    assert both_ways(snippets(0.6, 0.8, 0.8), SHARP)[0].peak_s == pytest.approx(1.5 * 0.64)


@pytest.mark.parametrize(
    ("merge_gap_s", "expected"),
    [(0.0, [(0, 1), (3, 4)]), (1.28, [(0, 1), (3, 4)]), (1.29, [(0, 4)]), (60.0, [(0, 4)])],
)
def test_events_merge_only_when_closer_than_the_gap(merge_gap_s: float, expected: list[tuple[float, float]]) -> None:
    rule = SHARP.model_copy(update={"merge_gap_s": merge_gap_s})
    assert spans(both_ways(snippets(0.9, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0, 0.0), rule)) == expected


@pytest.mark.parametrize("first", [0, 1, 5, 77, 1_000_003])
def test_a_gap_of_exactly_the_merge_gap_separates_wherever_it_lies(first: int) -> None:
    rule = SHARP.model_copy(update={"merge_gap_s": 1.28})
    items = [snippet(first + k, [score]) for k, score in enumerate((0.9, 0.0, 0.0, 0.9))]
    assert len(both_ways(items, rule)) == 2


@pytest.mark.parametrize(("min_duration_s", "kept"), [(0.64, 2), (0.65, 1), (1.28, 1), (1.29, 0)])
def test_events_shorter_than_the_minimum_are_dropped(min_duration_s: float, kept: int) -> None:
    rule = SHARP.model_copy(update={"min_duration_s": min_duration_s})
    assert len(both_ways(snippets(0.9, 0.0, 0.9, 0.9, 0.0), rule)) == kept


def test_pieces_are_merged_before_their_duration_is_judged() -> None:
    rule = SHARP.model_copy(update={"min_duration_s": 1.9, "merge_gap_s": 0.7})
    assert spans(both_ways(snippets(0.9, 0.0, 0.9, 0.0, 0.0, 0.9), rule)) == [(0, 3)]


def test_a_clipped_tail_counts_with_the_length_it_has() -> None:
    *before, tail = snippets(0.0, 0.0, 0.9)
    tail = replace(tail, span=replace(tail.span, end_s=1.5))
    assert both_ways([*before, tail], SHARP)[0].end_s == 1.5
    assert both_ways([*before, tail], SHARP.model_copy(update={"min_duration_s": 0.64})) == []


def test_nothing_opens_during_the_cooldown_and_a_lasting_score_opens_after_it() -> None:
    rule = SHARP.model_copy(update={"cooldown_s": 1.92})
    assert spans(both_ways(snippets(0.9, 0.0, 0.9, 0.0, 0.9), rule)) == [(0, 1), (4, 5)]
    assert spans(both_ways(snippets(0.9, 0.0, 0.9, 0.9, 0.9), rule)) == [(0, 1), (4, 5)]


def test_a_dropped_event_starts_no_cooldown() -> None:
    rule = SHARP.model_copy(update={"cooldown_s": 60.0, "min_duration_s": 1.28})
    assert spans(both_ways(snippets(0.9, 0.0, 0.9, 0.9), rule)) == [(2, 4)]


def test_smoothing_is_centred_and_shrinks_at_the_ends_of_the_stream() -> None:
    rule = EventRule(on=0.5, off=0.5, smooth_snippets=3, merge_gap_s=0.0)
    assert spans(both_ways(snippets(0.75, 0.25, 0.0, 0.75, 0.75, 0.0, 0.25, 0.75), rule)) == [(0, 1), (3, 5), (7, 8)]


def test_an_event_closes_where_nothing_is_seen_or_heard_and_never_merges_across() -> None:
    items = [snippet(0, [0.9]), snippet(1, [0.9], seen=False), snippet(2, [0.9])]
    assert spans(both_ways(items, SHARP.model_copy(update={"merge_gap_s": 60.0}))) == [(0, 1), (2, 3)]


def test_a_jump_in_time_closes_events_and_is_not_smoothed_over() -> None:
    rule = EventRule(on=0.5, off=0.5, smooth_snippets=3, merge_gap_s=60.0)
    items = [snippet(0, [0.0]), snippet(1, [1.0]), snippet(9, [1.0]), snippet(10, [1.0])]
    assert spans(both_ways(items, rule)) == [(0, 2), (9, 11)]


def test_one_missing_modality_leaves_an_event_open() -> None:
    items = snippets(0.9, 0.9, 0.9)
    items[1] = replace(items[1], audio_present=False)
    assert spans(both_ways(items, SHARP)) == [(0, 3)]


def test_the_cooldown_runs_on_through_a_gap() -> None:
    items = [snippet(0, [0.9]), snippet(2, [0.9]), snippet(9, [0.9])]
    assert spans(both_ways(items, SHARP.model_copy(update={"cooldown_s": 3.0}))) == [(0, 1), (9, 10)]


@pytest.mark.parametrize(
    ("audio", "visual", "modality"),
    [(0.8, 0.0, "audio"), (0.0, 0.8, "visual"), (0.8, 0.4, "both"), (0.4, 0.8, "both"), (0.8, 0.3, "audio")],
)
def test_modality_is_both_when_the_weaker_gives_half_of_the_stronger(
    audio: float, visual: float, modality: str
) -> None:
    items = [snippet(0, [0.9], audio=[audio], visual=[visual]), snippet(1, [0.0], audio=[1.0], visual=[1.0])]
    assert both_ways(items, SHARP)[0].modality == modality


def test_classes_without_a_rule_give_no_events() -> None:
    items = [snippet(k, [0.9, 0.9]) for k in range(2)]
    assert [event.class_name for event in decide_events(curve_of(items, 2), [None, SHARP])] == ["c1"]
    segmenter = EventSegmenter(["c0", "c1"], [None, SHARP], float(HOP))
    assert [event.class_name for event in through(items, segmenter)] == ["c1"]


def test_a_score_that_is_not_a_number_opens_nothing() -> None:
    assert both_ways(snippets(float("nan"), float("nan")), SHARP) == []


def test_a_score_that_is_not_a_number_ends_an_event() -> None:
    assert spans(both_ways(snippets(0.9, float("nan"), float("nan")), SHARP)) == [(0, 1)]


def test_an_event_is_handed_over_within_the_stated_latency() -> None:
    rule = EventRule(on=0.5, off=0.3, smooth_snippets=3, merge_gap_s=1.28)
    segmenter = EventSegmenter(["c0"], [rule], float(HOP))
    for item in snippets(0.9, 0.9, 0.9, *[0.0] * 9):
        closed = segmenter.push(item)
        if closed:
            assert item.span.end_s == pytest.approx(closed[0].end_s + segmenter.latency_s)
            return
    pytest.fail("the event was not handed over")


def test_open_events_are_known_before_they_close() -> None:
    rule = SHARP.model_copy(update={"min_duration_s": 1.28, "merge_gap_s": 0.7})
    segmenter = EventSegmenter(["c0"], [rule], float(HOP))
    seen = []
    for item in snippets(0.9, 0.9, 0.0, 0.9, 0.0, 0.0):
        segmenter.push(item)
        seen.append(spans(segmenter.open_events))
    assert seen == [[], [(0, 2)], [(0, 2)], [(0, 4)], [(0, 4)], []]


def test_snippets_out_of_order_are_refused() -> None:
    items = [snippet(3, [0.9]), snippet(1, [0.9])]
    with pytest.raises(ValueError, match="must come in order"):
        stream(items, SHARP)
    with pytest.raises(ValueError, match=r"clip\.mp4: snippets must come in order"):
        offline(items, SHARP)


def test_an_empty_curve_has_no_events() -> None:
    assert offline([], SHARP) == []
    assert stream([], SHARP) == []


def test_memory_stays_constant_on_an_endless_stream() -> None:
    segmenter = EventSegmenter(["c0"], [EventRule(smooth_snippets=5, merge_gap_s=3600.0)], float(HOP))

    def run(first: int, count: int) -> int:
        for index in range(first, first + count):
            segmenter.push(snippet(index, [0.9 * (index % 7 > 3)]))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(0, 200)
        assert run(200, 2000) - before < 10_000
    finally:
        tracemalloc.stop()


# --- against the same rules written down a second time

LEVELS = st.integers(0, 16).map(lambda level: level / 16)
SECONDS = st.sampled_from([0.0, 0.5, 0.64, 1.0, 1.28, 1.92, 3.2, 5.0])


@st.composite
def rules(draw: st.DrawFn) -> EventRule:
    on = draw(LEVELS)
    return EventRule(
        on=on,
        off=draw(LEVELS.filter(lambda off: off <= on)),
        smooth_snippets=draw(st.sampled_from([1, 3, 5, 9])),
        min_duration_s=draw(SECONDS),
        merge_gap_s=draw(SECONDS),
        cooldown_s=draw(SECONDS),
    )


@st.composite
def recordings(draw: st.DrawFn, num_classes: int) -> list[SnippetScore]:
    row = st.tuples(
        st.lists(st.tuples(LEVELS, LEVELS, LEVELS), min_size=num_classes, max_size=num_classes),
        st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2, 4]),
        st.sampled_from([True] * 7 + [False]),
    )
    index = draw(st.integers(0, 10**7))
    items = []
    for classes, step, seen in draw(st.lists(row, max_size=40)):
        fused, audio, visual = zip(*classes, strict=True)
        items.append(snippet(index, fused, audio=audio, visual=visual, seen=seen))
        index += step
    if items and draw(st.booleans()):
        tail = items[-1]
        items[-1] = replace(tail, span=replace(tail.span, end_s=tail.span.start_s + 0.25))
    return items


def expected(items: Sequence[SnippetScore], rules: Sequence[EventRule]) -> list[Event]:
    events = []
    for column, rule in enumerate(rules):
        moments = [
            Moment(
                start=item.index * HOP,
                end=(item.index + 1) * HOP if item.span.duration_s > 0.5 else item.index * HOP + Fraction(1, 4),
                score=float(item.scores[column]),
                audio=float(item.audio_scores[column]),
                visual=float(item.visual_scores[column]),
                seen=item.audio_present or item.visual_present,
            )
            for item in items
        ]
        events += obvious_events(f"c{column}", moments, rule)
    return comparable(events)


def comparable(events: Sequence[Event]) -> list[Event]:
    """To the microsecond, the decoder's own resolution."""
    rounded = [
        replace(event, start_s=round(event.start_s, 6), end_s=round(event.end_s, 6), peak_s=round(event.peak_s, 5))
        for event in events
    ]
    return sorted(rounded, key=lambda event: (event.start_s, event.class_name))


@settings(max_examples=120, deadline=None)
@given(items=recordings(2), pair=st.tuples(rules(), rules()))
def test_streaming_and_offline_agree_with_the_obvious_implementation(
    items: list[SnippetScore], pair: tuple[EventRule, EventRule]
) -> None:
    whole = offline(items, *pair)
    assert comparable(whole) == expected(items, pair)
    streamed = stream(items, *pair)
    assert sorted(streamed, key=lambda event: (event.start_s, event.class_name)) == whole


def test_compiled_and_interpreted_code_give_the_same_events(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    items = [snippet(k + k // 500, row) for k, row in enumerate(random.random((3000, 3)) ** 2)]
    curve = curve_of(items, 3)
    chosen = [
        EventRule(on=0.6, off=0.25),
        EventRule(on=0.45, off=0.35, smooth_snippets=5, merge_gap_s=0.0, min_duration_s=1.28),
        EventRule(on=0.5, off=0.5, smooth_snippets=3, cooldown_s=7.0),
    ]
    interpreted = decide_events(curve, chosen)
    monkeypatch.setattr(segmenter_module, "COMPILE_FROM_SCORES", 0)
    assert decide_events(curve, chosen) == interpreted
    assert len(interpreted) > 100


def test_short_curves_are_decided_without_importing_numba() -> None:
    code = (
        "import sys, numpy as np\n"
        "from avdetect.events.segmenter import decide_events\n"
        "from avdetect.events.curve import CurveBuilder, ScoreCurve\n"
        "from avdetect.manifest import EventRule\n"
        "x = np.ones((100, 1), np.float32); t = np.arange(101) * 0.64\n"
        "curve = ScoreCurve('x', ('a',), (True,), t[:-1], t[1:], x, x, x, np.ones((100, 2), bool))\n"
        "assert len(decide_events(curve, [EventRule()])) == 1\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_threshold_leaves_an_open_event_open() -> None:
    segmenter = EventSegmenter(["c0"], [SHARP], float(HOP))
    for item in snippets(0.6, 0.6):
        segmenter.push(item)

    assert segmenter.change_rules([replace_rule(SHARP, on=0.9, off=0.5)]) == []
    [event] = segmenter.open_events
    closed = [event for item in snippets(0.6, 0.6, 0.6, 0.4)[2:] for event in segmenter.push(item)]

    assert event.start_s == 0
    assert [(event.start_s, round(event.end_s, 2)) for event in closed] == [(0.0, 1.92)]


def test_another_threshold_holds_from_the_next_snippet_on() -> None:
    segmenter = EventSegmenter(["c0"], [SHARP], float(HOP))
    segmenter.push(snippet(0, [0.4]))
    segmenter.change_rules([replace_rule(SHARP, on=0.3)])
    segmenter.push(snippet(1, [0.4]))

    assert [event.start_s for event in segmenter.open_events] == [pytest.approx(0.64)]


@pytest.mark.parametrize(
    "rule", [None, EventRule(on=0.5, off=0.3, smooth_snippets=3), EventRule(on=0.5, off=0.3, min_duration_s=60.0)]
)
def test_a_rule_under_which_an_open_event_would_vanish_closes_it(rule: EventRule | None) -> None:
    segmenter = EventSegmenter(["c0"], [SHARP], float(HOP))
    for item in snippets(0.6, 0.6):
        segmenter.push(item)

    [event] = segmenter.change_rules([rule])

    assert (event.start_s, event.end_s) == (0.0, pytest.approx(1.28))
    assert segmenter.open_events == []
    assert segmenter.flush() == []


def test_a_cooldown_outlasts_a_change_of_rules() -> None:
    cooled = replace_rule(SHARP, cooldown_s=60.0)
    segmenter = EventSegmenter(["c0"], [cooled], float(HOP))
    for item in snippets(0.6, 0.1, 0.1):
        segmenter.push(item)
    segmenter.change_rules([replace_rule(cooled, on=0.4)])
    segmenter.push(snippet(3, [0.9]))

    assert segmenter.open_events == []


def replace_rule(rule: EventRule, **changes: float) -> EventRule:
    return rule.model_copy(update=changes)
