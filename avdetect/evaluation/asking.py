"""What comes of asking recordings for phrases: a result where the phrase is heard, and none where it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.events.segmenter import decide_events
from avdetect.manifest import EventRule
from avdetect.timebase import Span

__all__ = ["Answers", "AskedTrack", "answers", "quiet_level", "quiet_rule"]

_OFF_SHARE = 0.7
"""Of the level at which a result opens, where it closes: as in the detector's rules."""
_LEVELS_PER_ONE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class AskedTrack:
    """A recording, and how relevant each of its snippets is to each of P phrases."""

    curve: ScoreCurve
    """A class for each phrase."""
    heard: tuple[tuple[Span, ...] | None, ...]
    """Where each phrase is heard: empty where it is not, None where that is not known."""

    def __post_init__(self) -> None:
        if len(self.heard) != len(self.curve.classes):
            raise ValueError(f"{len(self.curve.classes)} phrases were asked for, it is known of {len(self.heard)}.")


@dataclass(frozen=True, slots=True)
class Answers:
    """How many of the pairs of a phrase and a recording are answered well."""

    quiet_share: float
    """Of the pairs in which the phrase is not heard, how many have no result; NaN without any."""
    found_share: float
    """Of the pairs in which it is heard, how many have a result that overlaps with it; NaN without any."""
    num_absent: int
    num_heard: int


def answers(tracks: Sequence[AskedTrack], rule: EventRule) -> Answers:
    """Ask every track for every phrase, by ``rule``."""
    quiet: list[bool] = []
    found: list[bool] = []
    for track in tracks:
        rules = [None if heard is None else rule for heard in track.heard]
        results: dict[str, list[Span]] = {name: [] for name in track.curve.classes}
        for event in decide_events(track.curve, rules):
            results[event.label].append(Span(event.start_s, event.end_s))
        for name, heard in zip(track.curve.classes, track.heard, strict=True):
            if heard == ():
                quiet.append(not results[name])
            elif heard is not None:
                found.append(any(_overlap(one, other) for one in results[name] for other in heard))
    return Answers(
        quiet_share=float(np.mean(quiet)) if quiet else math.nan,
        found_share=float(np.mean(found)) if found else math.nan,
        num_absent=len(quiet),
        num_heard=len(found),
    )


def quiet_rule(tracks: Sequence[AskedTrack], share: float) -> EventRule:
    """The rule that opens as early as it can and is quiet in ``share`` of the pairs in which the phrase is not heard.

    Relevance is not smoothed, and no result is too short: a shot is over within a snippet. Means over 3 and 5 snippets
    find no more with the same share.

    Raises:
        UsageError: every phrase is heard in every track, or the share is not between 0 and 1.
    """
    on = quiet_level(tracks, share)
    return EventRule(on=on, off=round(_OFF_SHARE * on, 3))


def quiet_level(tracks: Sequence[AskedTrack], share: float) -> float:
    """The lowest relevance, in steps of 0.001, that ``share`` of the pairs without the phrase stay below.

    Raises:
        UsageError: as for ``quiet_rule``.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share of questions to stay quiet on must be between 0 and 1, got {share:g}.")
    highest = np.sort(np.concatenate([_highest_where_absent(track) for track in tracks] or [np.zeros(0)]))
    if not highest.size:
        raise UsageError("every phrase is heard in every recording: nothing says when to stay quiet.")
    last = float(highest[math.ceil(share * highest.size) - 1])
    return min((math.floor(last * _LEVELS_PER_ONE) + 1) / _LEVELS_PER_ONE, 1.0)


def _highest_where_absent(track: AskedTrack) -> NDArray[np.float64]:
    """Of every phrase that is not heard, its highest relevance: ``(phrases,)``."""
    columns = [column for column, heard in enumerate(track.heard) if heard == ()]
    return np.asarray(track.curve.scores[:, columns].max(axis=0, initial=0.0), np.float64)


def _overlap(one: Span, other: Span) -> bool:
    return one.start_s < other.end_s and other.start_s < one.end_s
