"""The pages that ``--report`` writes: of findings, and of an answer with phrases for classes and places for events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from avdetect.errors import MediaError
from avdetect.events.event import Event
from avdetect.files import kind_of
from avdetect.media.packets import MediaInfo
from avdetect.media.source import probe
from avdetect.search.answer import Place
from avdetect.search.query import relevance_curve
from avdetect.sinks.report import ReportEntry, write_report
from avdetect_cli.output.plan import Finding

if TYPE_CHECKING:
    from avdetect.runtime.asking import QueryResult

__all__ = ["report_output", "write_answer_page"]

_TITLE_CHARACTERS = 160
_STORY = "story"
"""What a passage is called beside the phrases in it."""


@contextmanager
def report_output(target: Path, on_thresholds: Mapping[str, float]) -> Iterator[Callable[[Finding], None]]:
    """Give what collects findings; the page is written when all of them are known."""
    entries: list[ReportEntry] = []

    def write(finding: Finding) -> None:
        if finding.curve is None:
            return
        video = Path(finding.source)
        entries.append(
            ReportEntry(
                curve=finding.curve,
                events=finding.events,
                media=finding.media or MediaInfo(finding.source),
                notes=finding.notes,
                video=video if kind_of(video) == "file" else None,
                on_thresholds=on_thresholds,
            )
        )

    yield write
    if entries:
        write_report(target, entries)


def write_answer_page(target: Path, asked: QueryResult) -> None:
    """Write a page with the recordings that have places, or the nearest one where none has.

    Raises:
        OutputError: it cannot be written.
    """
    places: dict[str, list[Place]] = {}
    for place in asked.answer.places:
        places.setdefault(place.source, []).append(place)
    if not places and asked.answer.nearest is not None:
        places[asked.answer.nearest.source] = []
    numbers = {
        source: (corpus, number)
        for corpus in asked.corpora
        for number, source in enumerate(corpus.sources)
        if source in places
    }
    entries = []
    for source, found in places.items():
        path = Path(source)
        corpus, number = numbers[source]
        entries.append(
            ReportEntry(
                curve=relevance_curve(corpus, number, asked.story, asked.spec),
                events=sorted(_events(found, float(corpus.hop) / 2), key=lambda event: event.start_s),
                media=_probe(source),
                notes=(),
                video=path if kind_of(path) == "file" else None,
                on_thresholds=dict.fromkeys(asked.story.texts, asked.options.rule.on),
                count=len(found),
            )
        )
    write_report(target, entries, title=shorten(asked.text, _TITLE_CHARACTERS, placeholder=" ..."), found="place")


def _events(places: Sequence[Place], half_snippet_s: float) -> Iterator[Event]:
    """A place of a phrase is an event of it; a passage is one, and so is every phrase in it."""
    for place in places:
        label = place.phrases[0].text if place.fit is None else _STORY
        yield Event(label, place.start_s, place.end_s, place.peak_s, place.score, "audio")
        if place.fit is None:
            continue
        for phrase in place.phrases:
            if (time_s := phrase.time_s) is not None:
                start_s, end_s = time_s - half_snippet_s, time_s + half_snippet_s
                yield Event(phrase.text, start_s, end_s, time_s, phrase.relevance, "audio")


def _probe(source: str) -> MediaInfo:
    """What the container says, where the file is still there."""
    try:
        return probe(source)
    except MediaError:
        return MediaInfo(source)
