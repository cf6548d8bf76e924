"""Passages of a recording that hold what a story tells, in the order in which it tells it or in any.

A passage is one snippet for each phrase that is heard in it, all within a window; one of them must be heard for sure.
Of two passages the better one holds more phrases, and of as many, those that are more relevant. What is found is
exact: the best passage of the recording, then the best one that does not overlap it, and so on. The best way to hear
phrases in their order is found by dynamic programming over the snippets of a window.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError

NOT_HEARD = -1
"""Stands in place of a snippet for a phrase that is not heard."""

Gains = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Told:
    """The meaning of gains: 0 where a phrase is not heard, else its relevance plus ``one_more``."""

    groups: Sequence[Sequence[int]]
    """The phrases of each place, in order."""
    one_more: float
    """Outweighs any relevance of others, so that one phrase more is better."""
    sure: float
    """The gain from which on a phrase is heard for sure."""


class _States:
    """The values of all states at one moment, for many windows side by side.

    A state is a group that has been reached, the set of its phrases that have been heard, and whether any phrase so far
    was heard for sure. In every snippet first the next group may be entered, then phrases of the group may be heard: so
    those of a later group are in later snippets.
    """

    def __init__(self, story: Told, num_windows: int) -> None:
        self._story = story
        self._values = [np.full((2, 1 << len(group), num_windows), -np.inf) for group in story.groups]
        self._values[0][0, 0] = 0.0

    def advance(self, gains: Gains, paths: _Paths | None = None) -> None:
        """Take the next snippet of every window, ``(N, windows)``; ``paths`` notes what was decided."""
        for group, (before, after) in enumerate(pairwise(self._values)):
            best = before.max(axis=1)
            for sure in (0, 1):
                if paths is not None and best[sure] > after[sure, 0]:
                    paths.enter(group + 1, sure, int(before[sure].argmax()))
            np.maximum(after[:, 0], best, out=after[:, 0])
        for group, (phrases, values) in enumerate(zip(self._story.groups, self._values, strict=True)):
            for bit, phrase in enumerate(phrases):
                if gains[phrase].any():
                    self._hear(values, bit, gains[phrase], None if paths is None else partial(paths.hear, group))

    def _hear(self, values: Gains, bit: int, gain: Gains, note: Callable[[int, int, int, int], None] | None) -> None:
        """A phrase of a group may be heard now; ``note`` takes both states, with and without it, that it leads to."""
        is_sure = gain >= self._story.sure
        gain = np.where(gain > 0, gain, -np.inf)
        for without in (heard for heard in range(values.shape[1]) if not heard >> bit & 1):
            for before, after, possible in ((0, 0, ~is_sure), (0, 1, is_sure), (1, 1, True)):
                value, known = (
                    np.where(possible, values[before, without] + gain, -np.inf),
                    values[after, without | 1 << bit],
                )
                if note is not None and value > known:
                    note(before, after, without, bit)
                np.maximum(known, value, out=known)

    def best(self) -> Gains:
        """Return the best values in which something was heard for sure, ``(windows,)``."""
        return np.asarray(np.max([values[1].max(axis=0) for values in self._values], axis=0))

    def best_of_one(self) -> tuple[int, int]:
        """Return the group that was reached in a single window, and which of its phrases were heard."""
        reached = [
            (value, group, heard) for group, of in enumerate(self._values) for heard, value in enumerate(of[1, :, 0])
        ]
        _, group, heard = max(reached)
        return group, heard


class _Paths:
    """The snippets that led to each state of one window."""

    def __init__(self, story: Told) -> None:
        self._story = story
        self._paths: dict[tuple[int, int, int], dict[int, int]] = {(0, 0, 0): {}}
        self.at = 0
        """The snippet that is decided on."""

    def enter(self, group: int, sure: int, heard_before: int) -> None:
        """The best way to begin ``group`` is from this state of the group before."""
        self._paths[group, sure, 0] = self._paths[group - 1, sure, heard_before]

    def hear(self, group: int, before: int, after: int, without: int, bit: int) -> None:
        """The best way to have heard this phrase too is to hear it here."""
        phrase = self._story.groups[group][bit]
        self._paths[group, after, without | 1 << bit] = {**self._paths[group, before, without], phrase: self.at}

    def of(self, group: int, heard: int) -> dict[int, int]:
        """Snippets by phrase, one of them heard for sure."""
        return self._paths[group, 1, heard]


def values_in_order(gains: Gains, story: Told, begins: NDArray[np.intp], window: int) -> Gains:
    """The value of the best passage in the window that starts at each of ``begins``, where something is heard."""
    heard = np.flatnonzero(gains.any(axis=0))
    first, last = np.searchsorted(heard, begins), np.searchsorted(heard, begins + window)
    padded = np.concatenate((gains[:, heard], np.zeros((len(gains), 1))), axis=1)
    states = _States(story, len(begins))
    for ahead in range(int((last - first).max())):
        at = first + ahead
        states.advance(padded[:, np.where(at < last, at, len(heard))])
    return states.best()


def traced_in_order(window: Gains, story: Told) -> list[int]:
    """The snippets of the best passage in order of one window."""
    states, paths = _States(story, 1), _Paths(story)
    for paths.at in np.flatnonzero(window.any(axis=0)).tolist():
        states.advance(window[:, paths.at, None], paths)
    path = paths.of(*states.best_of_one())
    return [path.get(phrase, NOT_HEARD) for phrase in range(len(window))]


_MAX_TOGETHER = 8
"""Phrases of the same place: every subset of them is a state."""


@dataclass(frozen=True, slots=True)
class PassageOptions:
    """Conditions of a passage."""

    sure: float
    """A phrase is heard for sure where its relevance reaches this."""
    threshold: float
    """Beside a phrase that is heard for sure, others are heard where their relevance reaches this."""
    window_snippets: int
    """Longest passage, from its first snippet to its last, both counted."""
    at_least: int
    """Number of phrases that it must hold."""
    in_order: bool
    """True if a phrase of a later place must be heard in a later snippet."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch in which a story is heard."""

    snippets: tuple[int, ...]
    """The snippet of each phrase; ``NOT_HEARD`` where it is not in the passage."""
    relevance: tuple[float, ...]
    """The relevance of each phrase there; 0 where it is not in the passage."""

    @property
    def first(self) -> int:
        """Its first snippet."""
        return min(at for at in self.snippets if at != NOT_HEARD)

    @property
    def last(self) -> int:
        """Its last snippet."""
        return max(self.snippets)

    @property
    def score(self) -> float:
        """Mean relevance of all phrases of the story."""
        return sum(self.relevance) / len(self.relevance)


def passages(relevance: NDArray[np.float32], places: NDArray[np.int64], options: PassageOptions) -> Iterator[Passage]:
    """The passages of a recording, the best first; none overlaps another.

    Args:
        relevance: of every phrase and snippet, ``(N, T)``.
        places: of the phrases in the story, ``(N,)``.
        options: what counts.

    Raises:
        UsageError: the story tells of too many things at once for their order to be looked at.
    """
    groups = _groups(places)
    together = max(map(len, groups))
    if options.in_order and together > _MAX_TOGETHER:
        raise UsageError(f"the story tells of {together} things at the same time, and --order follows {_MAX_TOGETHER}.")
    heard = (relevance >= options.threshold) & (relevance > 0)
    story = Told(groups, one_more=len(places) + 1.0, sure=len(places) + 1.0 + options.sure)
    gains = np.where(heard, relevance.astype(np.float64) + story.one_more, 0.0)
    ties = count()  # stretches cannot be compared
    waiting: list[tuple[float, int, int, int, list[int]]] = []

    def look(begin: int, end: int) -> None:
        found = _best(gains[:, begin:end], story, options)
        if found is not None:
            value, snippets = found
            shifted = [at if at == NOT_HEARD else at + begin for at in snippets]
            heapq.heappush(waiting, (-value, next(ties), begin, end, shifted))

    look(0, relevance.shape[1])
    while waiting:
        _, _, begin, end, snippets = heapq.heappop(waiting)
        passage = Passage(
            tuple(snippets),
            tuple(0.0 if at == NOT_HEARD else float(relevance[n, at]) for n, at in enumerate(snippets)),
        )
        yield passage
        look(begin, passage.first)
        look(passage.last + 1, end)


def _groups(places: NDArray[np.int64]) -> list[list[int]]:
    """The phrases of each place, in the order of places."""
    return [np.flatnonzero(places == place).tolist() for place in np.unique(places)]


def _best(gains: Gains, story: Told, options: PassageOptions) -> tuple[float, list[int]] | None:
    """Value and snippets of the best passage of a stretch; ``None`` without any."""
    if not gains.shape[1]:
        return None
    highest = _highest_ahead(gains, options.window_snippets)
    enough = ((highest > 0).sum(axis=0) >= options.at_least) & (highest >= story.sure).any(axis=0)
    begins = np.flatnonzero(enough & (gains > 0).any(axis=0))  # a passage begins with something that is heard
    if not begins.size:
        return None
    values = highest[:, begins].sum(axis=0)
    if options.in_order:
        values = values_in_order(gains, story, begins, options.window_snippets)
    best = int(values.argmax())
    value = float(values[best])
    if value < options.at_least * story.one_more:
        return None
    window = gains[:, begins[best] : begins[best] + options.window_snippets]
    snippets = traced_in_order(window, story) if options.in_order else _strongest(window)
    return value, [at if at == NOT_HEARD else at + int(begins[best]) for at in snippets]


def _highest_ahead(gains: Gains, window: int) -> Gains:
    """The highest of each row in ``[t, t + window)``, ``(N, T)``: of two windows of half the length, and so on."""
    window = min(window, gains.shape[1])
    highest, length = gains.copy(), 1
    while length < window:
        step = min(length, window - length)
        highest[:, :-step] = np.maximum(highest[:, :-step], highest[:, step:])
        length += step
    return highest


def _strongest(window: Gains) -> list[int]:
    snippets = window.argmax(axis=1)
    return [int(at) if window[n, at] > 0 else NOT_HEARD for n, at in enumerate(snippets)]
