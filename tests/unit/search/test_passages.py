from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.errors import UsageError
from avdetect.search.passages import NOT_HEARD, Passage, PassageOptions, passages


def obvious_best(relevance: np.ndarray, places: np.ndarray, options: PassageOptions) -> tuple[int, float] | None:
    """Phrases held and sum of relevance of the best passage: every choice of snippets is tried."""
    num_phrases, num_snippets = relevance.shape
    found = []
    for chosen in product(range(-1, num_snippets), repeat=num_phrases):
        held = [(at, places[n], relevance[n, at]) for n, at in enumerate(chosen) if at >= 0]
        if (
            len(held) < options.at_least
            or not held
            or any(value < options.threshold or not value for _, _, value in held)
        ):
            continue
        if max(value for _, _, value in held) < options.sure:
            continue
        if max(at for at, _, _ in held) - min(at for at, _, _ in held) >= options.window_snippets:
            continue
        in_order = all(a < b for a, place, _ in held for b, later, _ in held if place < later)
        if in_order or not options.in_order:
            found.append((len(held), float(sum(value for _, _, value in held))))
    return max(found, default=None)


@st.composite
def stories(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, PassageOptions]:
    num_phrases = draw(st.integers(1, 4))
    num_snippets = draw(st.integers(1, 6))
    values = st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.75, 0.9, 1.0])
    relevance = draw(st.lists(st.lists(values, min_size=num_snippets, max_size=num_snippets),
                              min_size=num_phrases, max_size=num_phrases))  # fmt: skip
    places = draw(st.lists(st.integers(0, 3), min_size=num_phrases, max_size=num_phrases))
    options = PassageOptions(
        sure=draw(st.sampled_from([0.0, 0.5, 0.75, 1.0])),
        threshold=draw(st.sampled_from([0.0, 0.2, 0.5])),
        window_snippets=draw(st.integers(1, 7)),
        at_least=draw(st.integers(1, num_phrases)),
        in_order=draw(st.booleans()),
    )
    return np.array(relevance, np.float32), np.array(places), options


def check(passage: Passage, relevance: np.ndarray, places: np.ndarray, options: PassageOptions) -> None:
    """It is what its options ask for."""
    held = [(at, places[n]) for n, at in enumerate(passage.snippets) if at != NOT_HEARD]
    assert len(held) >= options.at_least
    assert max(passage.relevance) >= options.sure
    assert passage.last - passage.first < options.window_snippets
    for n, at in enumerate(passage.snippets):
        assert passage.relevance[n] == (0 if at == NOT_HEARD else relevance[n, at])
        assert at == NOT_HEARD or relevance[n, at] >= options.threshold
    if options.in_order:
        assert all(a < b for a, place in held for b, later in held if place < later)


@settings(max_examples=150, deadline=None)
@given(stories())
def test_the_best_passage_is_that_of_trying_everything(story: tuple[np.ndarray, np.ndarray, PassageOptions]) -> None:
    relevance, places, options = story
    best = next(passages(relevance, places, options), None)
    expected = obvious_best(relevance, places, options)
    assert (best is None) == (expected is None)
    if best is not None and expected is not None:
        check(best, relevance, places, options)
        held = sum(at != NOT_HEARD for at in best.snippets)
        assert (held, sum(best.relevance)) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(stories())
def test_further_passages_overlap_none_and_leave_none_out(
    story: tuple[np.ndarray, np.ndarray, PassageOptions],
) -> None:
    relevance, places, options = story
    found = list(passages(relevance, places, options))
    taken = np.zeros(relevance.shape[1], bool)
    for passage in found:
        check(passage, relevance, places, options)
        assert not taken[passage.first : passage.last + 1].any()
        taken[passage.first : passage.last + 1] = True
    values = [(sum(at != NOT_HEARD for at in one.snippets), sum(one.relevance)) for one in found]
    assert all(a[0] > b[0] or (a[0] == b[0] and a[1] >= b[1] - 1e-6) for a, b in pairwise(values))
    edges = [-1, *(at for at in range(len(taken)) if taken[at]), len(taken)]
    for low, high in pairwise(edges):
        if high - low > 1:
            assert obvious_best(relevance[:, low + 1 : high], places, options) is None


def test_a_story_of_minutes_is_found_in_an_hour() -> None:
    rng = np.random.default_rng(0)
    relevance = (0.45 * rng.random((5, 5625))).astype(np.float32)
    places = np.arange(5)
    for n, at in enumerate((3000, 3050, 3100, 3300, 3400)):
        relevance[n, at] = 0.9
        relevance[n, 100 * (5 - n)] = 0.99  # the same in another order, and more relevant
    options = PassageOptions(sure=0.8, threshold=0.5, window_snippets=468, at_least=5, in_order=True)
    (found,) = passages(relevance, places, options)
    assert found.snippets == (3000, 3050, 3100, 3300, 3400)
    assert found.score == pytest.approx(0.9)


def test_more_things_at_once_than_can_be_followed_are_refused() -> None:
    with pytest.raises(UsageError, match="tells of 9 things at the same time, and --order follows 8"):
        next(passages(np.ones((9, 4), np.float32), np.zeros(9, np.int64), PassageOptions(0.5, 0.5, 4, 2, True)))
