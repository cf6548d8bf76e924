"""What a person sees of an answer. Plain lines: rich would take longer to load than the answer to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from avdetect.search.answer import HeardPhrase, Place
from avdetect_cli.terminal.text import show_duration, show_time

if TYPE_CHECKING:
    from avdetect.runtime.asking import QueryResult

__all__ = ["answer_lines"]

_SHOWN_CHARACTERS = 60
"""Of a phrase."""


def answer_lines(asked: QueryResult, *, elapsed_s: float) -> Iterator[str]:
    """Line by line."""
    answer, options = asked.answer, asked.options
    material = f"{answer.num_recordings} recording{'' if answer.num_recordings == 1 else 's'}"
    material += f" ({show_duration(answer.heard_s)})"
    if not answer.places:
        yield f"Nothing found in {material}.{_nearest(asked)}"
        return
    yield from _table(answer.places)
    count = f"{len(answer.places)} place{'' if len(answer.places) == 1 else 's'}"
    if len(answer.places) == options.top:
        count = f"The best {options.top} places" if options.top > 1 else "The best place"
    yield ""
    yield f"{count} in {material}, {elapsed_s:.1f} s"


def _table(places: Sequence[Place]) -> Iterator[str]:
    times = [(show_time(place.start_s), show_time(place.end_s)) for place in places]
    width = max(5, *(len(end) for _, end in times))
    is_story = places[0].fit is not None
    fit_head = f"{'fit':>6}  " if is_story else ""
    yield f"{'score':>5}  {fit_head}{'start':>{width}}  {'end':>{width}}  file"
    for place, (start, end) in zip(places, times, strict=True):
        fit = "" if place.fit is None else f"{place.fit:>6.2f}  "
        yield f"{place.score:>5.2f}  {fit}{start:>{width}}  {end:>{width}}  {place.source}"
        if is_story:
            for phrase in sorted(place.phrases, key=_time):
                yield f"{phrase.relevance:>13.2f}  {_when(phrase):>{width}}  {_short(phrase.text)}"


def _time(phrase: HeardPhrase) -> float:
    """What is not heard comes last."""
    return float("inf") if phrase.time_s is None else phrase.time_s


def _when(phrase: HeardPhrase) -> str:
    return "-" if phrase.time_s is None else show_time(phrase.time_s)


def _nearest(asked: QueryResult) -> str:
    place, options = asked.answer.nearest, asked.options
    if place is None:
        return " There is no sound in them." if asked.answer.num_recordings else ""
    if place.fit is None:
        return (
            f" The nearest was {place.score:.2f} at {show_time(place.peak_s)} in {place.source}; a place needs "
            f"{options.rule.on:.2f}."
        )
    rule, told = options.rule, len(place.phrases)
    heard = sum(phrase.relevance >= rule.off for phrase in place.phrases)
    order = " in the order told" if options.in_order else ""
    return (
        f" The nearest was around {show_time(place.peak_s)} in {place.source}, with {heard} of {told} phrases; a "
        f"passage needs {options.needed(asked.story)}{order}, one with {rule.on:.2f} and others with {rule.off:.2f}."
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
