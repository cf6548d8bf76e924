"""Passages of a recording that hold what a story tells, in the order in which it tells it or in any.

A passage is one snippet for each phrase that is heard in it, all within a window; one of them must be heard for sure.
Of two passages the better one holds more phrases, and of as many, those that are more relevant. What is found is
exact: the best passage of the recording, then the best one that does not overlap it, and so on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.search.order import NOT_HEARD, Gains, Told, traced_in_order, values_in_order

__all__ = ["NOT_HEARD", "Passage", "PassageOptions", "passages"]

_MAX_TOGETHER = 8
"""Phrases of the same place: every subset of them is a state."""


@dataclass(frozen=True, slots=True)
class PassageOptions:
    """What counts as a passage."""

    sure: float
    """A phrase is heard for sure where its relevance reaches this."""
    threshold: float
    """Beside one that is, others are heard where theirs reaches this."""
    window_snippets: int
    """From its first snippet to its last, both counted."""
    at_least: int
    """How many of the phrases it must hold."""
    in_order: bool
    """Whether phrases must be heard in the order of their places: a phrase of a later place in a later snippet."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Where a story is heard."""

    snippets: tuple[int, ...]
    """Of each phrase; ``NOT_HEARD`` where it is not in the passage."""
    relevance: tuple[float, ...]
    """There; 0 where it is not in the passage."""

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
