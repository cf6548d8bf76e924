"""Score -> Event: what opens an event, what holds it open, and when it is handed over.

The rules, for each class by itself:

* **Stretches.** A stretch is a run of snippets without a hole: each starts where the one before ended, and each has
  sound or a picture. A snippet with neither, or a jump in time, ends the stretch: open events close there, and neither
  smoothing nor merging reaches across. A snippet shorter than the hop (the clipped tail) counts as any other, with
  the length it has.
* **Smoothing** is the mean over ``smooth_snippets`` centred on the snippet. Where the window reaches over an end of the
  stretch, it is the mean over those that are there, so that the ends are not dragged towards zero.
* **Hysteresis.** An event opens with the first snippet whose smoothed score is at least ``on`` and lasts while
  it is at least ``off``. It starts where its first snippet starts and ends where its last one ends.
* **Merging** comes next: when the score reaches ``on`` again less than ``merge_gap_s`` after that end, the event
  goes on. A gap of exactly ``merge_gap_s`` separates. What lies in the gap counts for the span, not for the
  modality.
* **Minimum duration** is asked of the merged event: one shorter than ``min_duration_s`` is dropped, one of exactly
  that length kept.
* **Cooldown** comes last and follows only events that were kept. Until ``cooldown_s`` after such an event's end no
  other opens; one that rises meanwhile and is still at ``on`` afterwards opens then. The cooldown runs on media
  time, across the ends of stretches.
* **Confidence** is the highest smoothed score of the event, and its peak the middle of the first snippet that has
  it.
* **Modality.** The audio-only and the visual-only scores of the class are added up over the snippets that held the
  event open. It is ``both`` when the smaller sum is at least half of the larger, else the modality of the larger.
  This compares like with like: it depends neither on the thresholds nor on the length of the event.

Durations within a microsecond of each other are equal. Scores that are not numbers never open an event.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event, Modality, SnippetScore
from avdetect.events.hysteresis import (
    CLOSED_FIELDS,
    IDLE,
    NO_EVENT,
    TOLERANCE_S,
    Advance,
    OpenEvent,
    RuleNumbers,
    advance,
    compiled_advance,
)
from avdetect.manifest import EventRule

CONTIGUOUS_WITHIN_S = 1e-3
"""Two snippets closer than this are neighbours: times in tables are often rounded to a millisecond."""

BOTH_RATIO = 0.5
"""An event was heard *and* seen when the weaker modality gave at least this share of the stronger."""

COMPILE_FROM_SCORES = 300_000
"""Snippets times classes from which importing numba and loading the compiled code costs less than it saves; measured
by ``benchmarks/event_decoder.py``."""


class EventSegmenter:
    """Stage: snippet scores in, closed events out, with constant memory.

    Events are handed over as soon as nothing to come can change them, ``latency_s`` after their end, so events of
    different classes may come out of the order of their start; those of one push are in that order.

    Args:
        classes: names, in the order of the scores.
        rules: one for each class; ``None`` for a class whose events are not wanted.
        hop_s: seconds between snippets.
    """

    def __init__(self, classes: Sequence[str], rules: Sequence[EventRule | None], hop_s: float) -> None:
        self._classes = tuple(classes)
        self._hop_s = hop_s
        self._wanted = _wanted(classes, rules)
        self._state = {name: NO_EVENT for name, _, _ in self._wanted}
        # A decision needs the half window after the snippet and the one before it.
        self._context = 2 * max((rule.half_window for _, _, rule in self._wanted), default=0)
        self._recent: deque[SnippetScore] = deque(maxlen=self._context + 1)
        self._last_end_s = -math.inf

    @property
    def latency_s(self) -> float:
        """The longest that an event is held back after its end: smoothing, then waiting for something to merge."""
        return max(
            (
                (rule.half_window + max(1, math.ceil((rule.merge_gap_s - TOLERANCE_S) / self._hop_s))) * self._hop_s
                for _, _, rule in self._wanted
            ),
            default=0.0,
        )

    @property
    def open_events(self) -> list[Event]:
        """Events that have opened and are not closed yet, as far as they have come, in the order of their start.

        Each is long enough to be kept already, so it will be handed over in the end; its end, peak, confidence and
        modality may still change.
        """
        events = [
            _event(name, state.start_s, state.end_s, state.peak_s, state.confidence, state.audio, state.visual)
            for name, _, rule in self._wanted
            if (state := self._state[name]).phase != IDLE
            and state.end_s - state.start_s >= rule.min_duration_s - TOLERANCE_S
        ]
        return _by_start(events)

    def change_rules(self, rules: Sequence[EventRule | None]) -> list[Event]:
        """Decide by other rules from the next snippet on; give back the events that are closed by that.

        A cooldown under way goes on. An event stays open where only thresholds, merging or cooldown of its class
        change; one that has opened is handed over in any case.
        """
        wanted = _wanted(self._classes, rules)
        before = {name: rule for name, _, rule in self._wanted}
        after = {name: rule for name, _, rule in wanted}
        if any(name in after and after[name].half_window != rule.half_window for name, rule in before.items()):
            closed = self._end_stretch()  # what is decided and what is not would be others
        else:
            closed = [
                event for event in self.open_events if _ends(before[event.class_name], after.get(event.class_name))
            ]
            for event in closed:
                ready_s = event.end_s + before[event.class_name].cooldown_s
                self._state[event.class_name] = NO_EVENT._replace(ready_s=ready_s)
        self._state = {name: self._state.get(name, NO_EVENT) for name in after}
        self._wanted = wanted
        self._context = 2 * max((rule.half_window for rule in after.values()), default=0)
        self._recent = deque(self._recent, maxlen=self._context + 1)
        return _by_start(closed)

    def push(self, item: SnippetScore) -> list[Event]:
        """Take the next snippet; give back the events that are settled now.

        Raises:
            ValueError: the snippet starts before the last one ended.
        """
        gap_s = item.span.start_s - self._last_end_s
        if gap_s < -CONTIGUOUS_WITHIN_S:
            raise ValueError(
                f"snippets must come in order: one starts at {item.span.start_s} s, after one that ended at "
                f"{self._last_end_s} s."
            )
        self._last_end_s = item.span.end_s
        unseen = not (item.audio_present or item.visual_present)
        events = self._end_stretch() if unseen or gap_s > CONTIGUOUS_WITHIN_S else []
        if not unseen:
            self._recent.append(item)
            events += self._decide(ends=False)
        return _by_start(events)

    def flush(self) -> list[Event]:
        """The stream has ended: close what is open."""
        return _by_start(self._end_stretch())

    def _end_stretch(self) -> list[Event]:
        events = self._decide(ends=True) if self._recent else []
        self._recent.clear()
        return events

    def _decide(self, *, ends: bool) -> list[Event]:
        """Decide, for each class, the one snippet whose window is now complete, or all that are left at the end."""
        start_s = np.array([item.span.start_s for item in self._recent])
        end_s = np.array([item.span.end_s for item in self._recent])
        count = len(self._recent)
        events: list[Event] = []
        for name, column, rule in self._wanted:
            undecided = max(count - rule.half_window - (0 if ends else 1), 0)
            last = count if ends else count - rule.half_window
            self._state[name], closed = _run(
                advance,
                rule,
                self._state[name],
                start_s,
                end_s,
                np.array([item.scores[column] for item in self._recent], np.float64),
                np.array([item.audio_scores[column] for item in self._recent], np.float64),
                np.array([item.visual_scores[column] for item in self._recent], np.float64),
                undecided,
                last,
                ends=ends,
            )
            events += [_event(name, *row) for row in closed.tolist()]
        return events


def decide_events(curve: ScoreCurve, rules: Sequence[EventRule | None]) -> list[Event]:
    """The events of a whole curve, in the order of their start: what ``EventSegmenter`` finds, all at once.

    Args:
        curve: the scores.
        rules: one for each class of the curve; ``None`` for a class whose events are not wanted.

    Raises:
        ValueError: the curve's snippets are not in order.
    """
    wanted = _wanted(curve.classes, rules)
    step = compiled_advance() if len(curve.start_s) * len(wanted) >= COMPILE_FROM_SCORES else advance
    stretches = list(_stretches(curve))
    events: list[Event] = []
    for name, column, rule in wanted:
        scores, audio_scores, visual_scores = (
            np.ascontiguousarray(array[:, column], np.float64)
            for array in (curve.scores, curve.audio_scores, curve.visual_scores)
        )
        state = NO_EVENT
        for part in stretches:
            state, closed = _run(
                step,
                rule,
                state,
                curve.start_s[part],
                curve.end_s[part],
                scores[part],
                audio_scores[part],
                visual_scores[part],
                0,
                part.stop - part.start,
                ends=True,
            )
            events += [_event(name, *row) for row in closed.tolist()]
    return _by_start(events)


def _wanted(classes: Sequence[str], rules: Sequence[EventRule | None]) -> list[tuple[str, int, RuleNumbers]]:
    """Name, column and rule of each class whose events are wanted."""
    return [
        (name, column, RuleNumbers.of(rule))
        for column, (name, rule) in enumerate(zip(classes, rules, strict=True))
        if rule is not None
    ]


def _ends(before: RuleNumbers, after: RuleNumbers | None) -> bool:
    """Whether an event that is open ends when its class gets another rule: it is not wanted, or would be too short."""
    return after is None or after.min_duration_s > before.min_duration_s


def _stretches(curve: ScoreCurve) -> Iterator[slice]:
    """Yield the stretches in which the curve's snippets follow each other without a hole."""
    gap_s = curve.start_s[1:] - curve.end_s[:-1]
    if (gap_s < -CONTIGUOUS_WITHIN_S).any():
        raise ValueError(f"{curve.source}: snippets must come in order.")
    seen = curve.present[:, 0] | curve.present[:, 1]
    joined = seen[:-1] & seen[1:] & (gap_s <= CONTIGUOUS_WITHIN_S)
    firsts = np.flatnonzero(seen & ~np.concatenate(([False], joined)))
    lasts = np.flatnonzero(seen & ~np.concatenate((joined, [False])))
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        yield slice(first, last + 1)


def _run(
    step: Advance,
    rule: RuleNumbers,
    state: OpenEvent,
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
    scores: NDArray[np.float64],
    audio_scores: NDArray[np.float64],
    visual_scores: NDArray[np.float64],
    first: int,
    last: int,
    *,
    ends: bool,
) -> tuple[OpenEvent, NDArray[np.float64]]:
    """``advance`` with room for what it may close; gives back the new state and the rows it filled."""
    closed = np.empty((max(last - first, 0) // 2 + 1, len(CLOSED_FIELDS)))
    state, num_closed = step(
        rule, state, start_s, end_s, scores, audio_scores, visual_scores, first, last, ends, closed
    )
    return state, closed[:num_closed]


def _event(
    label: str, start_s: float, end_s: float, peak_s: float, confidence: float, audio: float, visual: float
) -> Event:
    return Event(label, float(start_s), float(end_s), float(peak_s), float(confidence), _modality(audio, visual))


def _modality(audio: float, visual: float) -> Modality:
    """Return the modality of an event, given the sums of its audio-only and visual-only scores."""
    if min(audio, visual) >= BOTH_RATIO * max(audio, visual):
        return "both"
    return "audio" if audio > visual else "visual"


def _by_start(events: Iterable[Event]) -> list[Event]:
    """Sort events by their start, and by class where they start together."""
    return sorted(events, key=lambda event: (event.start_s, event.class_name))
