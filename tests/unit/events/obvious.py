"""The event decoder's rules written down a second time: slow, without state, in exact arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from avdetect.events.event import Event, Modality
from avdetect.manifest import EventRule


@dataclass(frozen=True)
class Moment:
    """One snippet of one class."""

    start: Fraction
    end: Fraction
    score: float
    audio: float
    visual: float
    seen: bool


def obvious_events(label: str, moments: list[Moment], rule: EventRule) -> list[Event]:
    events: list[Event] = []
    ready: Fraction | None = None
    for stretch in split_where_unseen(moments):
        smoothed = [centred_mean([m.score for m in stretch], t, rule.smooth_snippets) for t in range(len(stretch))]
        t = 0
        while t < len(stretch):
            if smoothed[t] < rule.on or (ready is not None and stretch[t].start < ready):
                t += 1
                continue
            held = holding(smoothed, t, rule.off)
            while (more := reopening(stretch, smoothed, held[-1], rule)) is not None:
                held += holding(smoothed, more, rule.off)
            t = held[-1] + 1
            if stretch[held[-1]].end - stretch[held[0]].start >= exact(rule.min_duration_s):
                events.append(described(label, stretch, smoothed, held))
                ready = stretch[held[-1]].end + exact(rule.cooldown_s)
    return events


def exact(seconds: float) -> Fraction:
    return Fraction(str(seconds))


def split_where_unseen(moments: list[Moment]) -> list[list[Moment]]:
    stretches: list[list[Moment]] = [[]]
    for moment in moments:
        if stretches[-1] and stretches[-1][-1].end != moment.start:
            stretches.append([])
        if moment.seen:
            stretches[-1].append(moment)
        else:
            stretches.append([])
    return stretches


def centred_mean(scores: list[float], t: int, width: int) -> float:
    window = scores[max(0, t - width // 2) : t + width // 2 + 1]
    return sum(window) / len(window)


def holding(smoothed: list[float], t: int, off: float) -> list[int]:
    end = t
    while end < len(smoothed) and smoothed[end] >= off:
        end += 1
    return list(range(t, end))


def reopening(stretch: list[Moment], smoothed: list[float], last: int, rule: EventRule) -> int | None:
    for t in range(last + 1, len(stretch)):
        if stretch[t].start - stretch[last].end >= exact(rule.merge_gap_s):
            return None
        if smoothed[t] >= rule.on:
            return t
    return None


def described(label: str, stretch: list[Moment], smoothed: list[float], held: list[int]) -> Event:
    peak = max(held, key=lambda t: smoothed[t])
    heard, seen = sum(stretch[t].audio for t in held), sum(stretch[t].visual for t in held)
    modality: Modality = "audio" if heard > 2 * seen else "visual" if seen > 2 * heard else "both"
    return Event(
        class_name=label,
        start_s=float(stretch[held[0]].start),
        end_s=float(stretch[held[-1]].end),
        peak_s=float((stretch[peak].start + stretch[peak].end) / 2),
        confidence=smoothed[peak],
        modality=modality,
    )
