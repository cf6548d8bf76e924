"""The state machine of the event decoder: the scores of one class in, the events of that class out.

``advance`` is written once, in the part of Python that numba compiles too. It runs interpreted for short inputs
and live streams, and compiled for long ones (``compiled_advance``); both give the same numbers to the last bit,
for they do the same float64 operations in the same order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import EventRule

IDLE, OPEN, WAITING = 0, 1, 2
"""No event; the score holds it open; the score fell below ``off``, but it may still be continued."""

TOLERANCE_S = 1e-6
"""Durations that differ by less are equal: ``3.84 - 2.56`` is not quite ``1.28`` in floating point."""


class RuleNumbers(NamedTuple):
    """An ``EventRule`` as plain numbers, which compiled code can take."""

    on: float
    off: float
    half_window: int
    """The centred mean takes this many snippets before and after."""
    min_duration_s: float
    merge_gap_s: float
    cooldown_s: float

    @staticmethod
    def of(rule: EventRule) -> RuleNumbers:
        """The numbers of ``rule``."""
        return RuleNumbers(
            on=rule.on,
            off=rule.off,
            half_window=rule.smooth_snippets // 2,
            min_duration_s=rule.min_duration_s,
            merge_gap_s=rule.merge_gap_s,
            cooldown_s=rule.cooldown_s,
        )


class OpenEvent(NamedTuple):
    """All that is remembered of one class between snippets. Fields after ``phase`` are stale while it is ``IDLE``."""

    phase: int
    start_s: float
    end_s: float
    """End of the last snippet that held it open."""
    peak_s: float
    confidence: float
    audio: float
    """Sum of the audio-only scores over the snippets that held it open."""
    visual: float
    """The same of the visual-only scores."""
    ready_s: float
    """The cooldown's end: nothing opens before. Always valid."""


NO_EVENT = OpenEvent(IDLE, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -np.inf)
"""The state at the start of a stream."""

CLOSED_FIELDS = ("start_s", "end_s", "peak_s", "confidence", "audio", "visual")
"""The columns of ``advance``'s ``closed``, as in ``OpenEvent``."""

Floats = NDArray[np.float64]
Advance = Callable[
    [RuleNumbers, OpenEvent, Floats, Floats, Floats, Floats, Floats, int, int, bool, Floats], tuple[OpenEvent, int]
]


def advance(
    rule: RuleNumbers,
    event: OpenEvent,
    start_s: Floats,
    end_s: Floats,
    scores: Floats,
    audio_scores: Floats,
    visual_scores: Floats,
    first: int,
    last: int,
    ends: bool,
    closed: Floats,
) -> tuple[OpenEvent, int]:
    """Decide snippets ``first <= t < last`` of one class, within one unbroken stretch of snippets.

    Args:
        rule: the rule of the class.
        event: the state after snippet ``first - 1``.
        start_s: of each snippet, ``(N,)``; ``N >= last``. Snippets outside ``[first, last)`` are only smoothed over.
        end_s: ``(N,)``, each equal to the next one's start.
        scores: fused, ``(N,)``.
        audio_scores: ``(N,)``.
        visual_scores: ``(N,)``.
        first: the first snippet to decide.
        last: one past the last snippet to decide.
        ends: whether the stretch ends at ``last``, which closes an open event.
        closed: room for the events that close, ``((last - first) // 2 + 1, 6)``, columns as in ``CLOSED_FIELDS``.

    Returns:
        The state after snippet ``last - 1`` and the number of rows of ``closed`` that were filled.
    """
    phase, event_start_s, event_end_s, peak_s, confidence, audio, visual, ready_s = event
    num_closed = 0
    for t in range(first, last + 1 if ends else last):
        past_end = t == last
        if past_end:
            if phase == OPEN:
                phase = WAITING
        else:
            low, high = max(t - rule.half_window, 0), min(t + rule.half_window + 1, len(scores))
            total = 0.0
            for k in range(low, high):
                total += scores[k]
            smoothed = total / (high - low)
            if phase == OPEN:
                if not smoothed >= rule.off:  # so that a score that is no number closes
                    phase = WAITING
            elif smoothed >= rule.on and start_s[t] >= ready_s - TOLERANCE_S:
                if phase == IDLE:
                    event_start_s = start_s[t]
                    confidence, audio, visual = -1.0, 0.0, 0.0
                phase = OPEN
        if phase == OPEN:
            event_end_s = end_s[t]
            audio += audio_scores[t]
            visual += visual_scores[t]
            if smoothed > confidence:
                confidence = smoothed
                peak_s = (start_s[t] + end_s[t]) / 2.0
        elif phase == WAITING and (past_end or end_s[t] - event_end_s >= rule.merge_gap_s - TOLERANCE_S):
            phase = IDLE
            if event_end_s - event_start_s >= rule.min_duration_s - TOLERANCE_S:
                ready_s = event_end_s + rule.cooldown_s
                row = closed[num_closed]
                row[0], row[1], row[2] = event_start_s, event_end_s, peak_s
                row[3], row[4], row[5] = confidence, audio, visual
                num_closed += 1
    return OpenEvent(phase, event_start_s, event_end_s, peak_s, confidence, audio, visual, ready_s), num_closed


@functools.cache
def compiled_advance() -> Advance:
    """``advance`` as machine code; the first call imports numba and compiles, or loads what was compiled before."""
    import numba  # takes longer to import than most sources take to decide

    compiled: Advance = numba.njit(cache=True, nogil=True)(advance)
    return compiled
