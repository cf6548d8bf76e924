from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.errors import UsageError
from avdetect.events.segmenter import decide_events
from avdetect.manifest import AlignmentSpec, EventRule
from avdetect.search.answer import QueryOptions
from avdetect.search.corpus import Corpus
from avdetect.search.query import ask, relevance_curve
from avdetect.text.scoring import SoundTrace, Story, fit

HOP = Fraction(16, 25)
DIM = 6
SPEC = AlignmentSpec(
    audio_graph="audio",
    text_graph="text",
    joint_dim=DIM,
    left_context_snippets=0,
    lookahead_snippets=0,
    overall_weight=1.0,
    temporal_weight=5.0,
    order_weight=1.0,
    sharpness=8.0,
    relevance_scale=8.0,
    relevance_bias=-4.0,
)
RULE = EventRule(on=0.8, off=0.5)
OPTIONS = QueryOptions(RULE)


def a_story(num_phrases: int) -> Story:
    """Phrases along the first axes, one after the other."""
    whole = np.ones(DIM, np.float32) / np.sqrt(np.float32(DIM))
    texts = tuple(f"sound {n}" for n in range(num_phrases))
    return Story(texts, np.eye(DIM, dtype=np.float32)[:num_phrases], np.arange(num_phrases), whole)


def a_trace(heard: Sequence[dict[int, float]]) -> SoundTrace:
    """Of each snippet, the cosine with some of the phrases; the last axis takes the rest. ``None``: no sound."""
    vectors = np.zeros((len(heard), DIM), np.float32)
    for t, cosines in enumerate(heard):
        for n, cosine in cosines.items():
            vectors[t, n] = cosine
        vectors[t, -1] = np.sqrt(max(1 - float((vectors[t] ** 2).sum()), 0))
    return SoundTrace(vectors, np.zeros(len(heard), np.float32), np.ones(len(heard), np.bool_))


def a_corpus(*traces: SoundTrace, names: str = "abcdefgh") -> Corpus:
    named = zip(names, traces, strict=False)
    heard = [(name, trace, len(trace.present) * 0.64) for name, trace in named]
    return Corpus.of(heard, hop=HOP, joint_dim=DIM)


def silence(num_snippets: int) -> list[dict[int, float]]:
    return [{} for _ in range(num_snippets)]


traces = st.builds(
    lambda cosines, absent: replace(
        a_trace([{0: cosine} for cosine in cosines]),
        present=~np.resize(np.array(absent, np.bool_), len(cosines)),
    ),
    st.lists(st.sampled_from([0.0, 0.4, 0.5, 0.6, 0.7, 0.75, 0.9, 1.0]), max_size=30),
    st.lists(st.booleans(), min_size=1, max_size=7).filter(lambda flags: not all(flags)),
)
rules = st.builds(
    lambda on, ratio, smooth, gap, shortest, cooldown: EventRule(
        on=on, off=on * ratio, smooth_snippets=smooth, merge_gap_s=gap, min_duration_s=shortest, cooldown_s=cooldown
    ),
    st.sampled_from([0.3, 0.5, 0.8]),
    st.sampled_from([0.2, 0.7, 1.0]),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([0.0, 0.64, 1.28, 3.0]),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 2.0]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(traces, max_size=4), min_size=1, max_size=3), rules, st.integers(1, 6))
def test_places_of_a_phrase_are_the_best_events_of_all_curves(
    heard: list[list[SoundTrace]], rule: EventRule, top: int
) -> None:
    corpora = [a_corpus(*one, names=names) for one, names in zip(heard, ("abcd", "efgh", "ijkl"), strict=False)]
    story = a_story(1)
    events = [
        (event.confidence, corpus.sources[number], event.start_s, event.end_s, event.peak_s)
        for corpus in corpora
        for number in range(len(corpus.sources))
        for event in decide_events(relevance_curve(corpus, number, story, SPEC), [rule])
    ]
    answer = ask(corpora, story, SPEC, QueryOptions(rule, top=top))
    found = [(one.score, one.source, one.start_s, one.end_s, one.peak_s) for one in answer.places]
    scores = sorted((event[0] for event in events), reverse=True)[:top]
    assert [one[0] for one in found] == pytest.approx(scores, abs=1e-5)
    known = {event[1:] for event in events}
    assert all(one[1:] in known for one in found)
    assert len(set(found)) == len(found)


def test_the_best_place_comes_first_whatever_recording_it_is_in() -> None:
    corpora = [
        a_corpus(a_trace([*silence(3), {0: 0.8}, *silence(4), {0: 0.95}]), a_trace([{0: 0.9}]), names="ab"),
        a_corpus(a_trace([*silence(2), {0: 0.99}]), names="c"),
    ]
    answer = ask(corpora, a_story(1), SPEC, OPTIONS)
    assert [(place.source, round(place.start_s, 2)) for place in answer.places] == [
        ("c", 1.28), ("a", 5.12), ("b", 0.0), ("a", 1.92)
    ]  # fmt: skip
    assert answer.nearest is None
    assert (answer.num_recordings, answer.heard_s) == (3, pytest.approx(13 * 0.64))
    assert [place.source for place in ask(corpora, a_story(1), SPEC, replace(OPTIONS, top=2)).places] == ["c", "a"]


def test_nothing_below_the_threshold_is_a_place_but_the_nearest_is_told() -> None:
    corpus = a_corpus(a_trace([*silence(4), {0: 0.55}, {}]), a_trace(silence(3)))
    answer = ask([corpus], a_story(1), SPEC, OPTIONS)
    assert answer.places == ()
    assert answer.nearest is not None
    assert answer.nearest.source == "a"
    assert answer.nearest.peak_s == pytest.approx(4.5 * 0.64)
    assert answer.nearest.score == pytest.approx(1 / (1 + np.exp(-(8 * 0.55 - 4))), abs=1e-5)


def test_where_there_is_no_sound_nothing_is_near() -> None:
    deaf = replace(a_trace([{0: 1.0}]), present=np.zeros(1, np.bool_))
    answer = ask([a_corpus(deaf, a_trace([]))], a_story(1), SPEC, OPTIONS)
    assert answer.places == ()
    assert answer.nearest is None
    assert ask([], a_story(2), SPEC, OPTIONS).num_recordings == 0


def test_a_story_is_found_where_its_phrases_are_heard_together() -> None:
    both = a_trace([*silence(5), {0: 0.9}, *silence(3), {1: 0.95}, *silence(5)])
    one = a_trace([*silence(5), {0: 1.0}, *silence(9)])
    far = a_trace([{0: 1.0}, *silence(600), {1: 1.0}])
    answer = ask([a_corpus(both, one, far)], a_story(2), SPEC, OPTIONS)
    (place,) = answer.places
    assert place.source == "a"
    assert (place.start_s, place.end_s) == (pytest.approx(3.2), pytest.approx(6.4))
    assert [phrase.time_s for phrase in place.phrases] == pytest.approx([5.5 * 0.64, 9.5 * 0.64])
    assert place.score == pytest.approx(np.mean([phrase.relevance for phrase in place.phrases]))
    assert place.fit == pytest.approx(fit(both, a_story(2), SPEC).fused)


def test_beside_a_phrase_that_is_sure_others_need_less() -> None:
    beside = a_trace([{0: 0.9}, {}, {1: 0.6}])  # relevance 0.96 and 0.69: on is 0.8, off 0.5
    unsure = a_trace([{0: 0.6}, {}, {1: 0.6}])
    faint = a_trace([{0: 0.9}, {}, {1: 0.45}])
    answer = ask([a_corpus(beside, unsure, faint)], a_story(2), SPEC, OPTIONS)
    assert [place.source for place in answer.places] == ["a"]
    assert [round(phrase.relevance, 2) for phrase in answer.places[0].phrases] == [0.96, 0.69]


def test_an_order_is_obeyed_only_if_asked_for() -> None:
    right = a_trace([*silence(2), {0: 0.9}, {}, {1: 0.9}, *silence(2)])
    wrong = a_trace([*silence(2), {1: 0.9}, {}, {0: 0.9}, *silence(2)])
    corpus = a_corpus(right, wrong)
    assert [place.source for place in ask([corpus], a_story(2), SPEC, OPTIONS).places] == ["a", "b"]
    in_order = replace(OPTIONS, in_order=True)
    assert [place.source for place in ask([corpus], a_story(2), SPEC, in_order).places] == ["a"]
    answer = ask([a_corpus(wrong)], a_story(2), SPEC, in_order)
    assert answer.places == ()
    assert answer.nearest is not None
    assert sum(phrase.relevance >= 0.8 for phrase in answer.nearest.phrases) == 2


def test_a_long_recording_is_compared_with_a_story_around_each_passage() -> None:
    passage = [*silence(2), {0: 0.9}, {}, {1: 0.9}, *silence(2)]
    long = a_trace([*silence(50), *passage, *silence(50), *passage, *silence(40)])
    places = ask([a_corpus(long)], a_story(2), SPEC, replace(OPTIONS, within_s=7 * 0.64)).places
    assert [place.fit for place in places] == pytest.approx([fit(a_trace(passage), a_story(2), SPEC).fused] * 2)
    assert [round(place.start_s / 0.64) for place in places] == [52, 109]


@pytest.mark.parametrize(
    ("told", "at_least", "needed"), [(2, None, 2), (3, None, 2), (4, None, 3), (20, None, 14), (4, 1, 1)]
)
def test_so_many_phrases_must_be_heard(told: int, at_least: int | None, needed: int) -> None:
    story = Story(tuple("x" * told), np.zeros((told, DIM), np.float32), np.arange(told), np.zeros(DIM, np.float32))
    assert replace(OPTIONS, at_least=at_least).needed(story) == needed


def test_what_does_not_go_with_a_story_is_misuse() -> None:
    with pytest.raises(UsageError, match="--order needs several phrases, and 'sound 0' is one"):
        ask([], a_story(1), SPEC, replace(OPTIONS, in_order=True))
    with pytest.raises(UsageError, match="--at-least 3 is more than the text has phrases: it has 2"):
        ask([], a_story(2), SPEC, replace(OPTIONS, at_least=3))
    for wrong, message in (
        ({"top": 0}, "top must be"),
        ({"within_s": 0.0}, "within must be"),
        ({"at_least": 0}, "hold at"),
    ):
        with pytest.raises(UsageError, match=message):
            replace(OPTIONS, **wrong)
