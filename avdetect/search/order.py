"""The best way to hear the phrases of a story in its order within a window: dynamic programming over snippets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOT_HEARD", "Gains", "Told", "traced_in_order", "values_in_order"]

NOT_HEARD = -1
"""In place of a snippet."""

Gains = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Told:
    """What gains mean: 0 where a phrase is not heard, else its relevance and ``one_more``."""

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
        """Of what was heard, something of it for sure, ``(windows,)``."""
        return np.asarray(np.max([values[1].max(axis=0) for values in self._values], axis=0))

    def best_of_one(self) -> tuple[int, int]:
        """Of a single window: the group that was reached, and which of its phrases were heard."""
        reached = [
            (value, group, heard) for group, of in enumerate(self._values) for heard, value in enumerate(of[1, :, 0])
        ]
        _, group, heard = max(reached)
        return group, heard


class _Paths:
    """Of one window: the snippets that led to each state."""

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
