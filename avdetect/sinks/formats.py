"""Events as text: what a sink is, the formats by name, and the sink that writes them to a file or a stream."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self, TextIO

from avdetect.errors import UsageError
from avdetect.events.event import Event, Modality, SourceEventRecord
from avdetect.files import replacing


def json_line(value: Mapping[str, object]) -> str:
    """One line of JSON, ASCII only, so that it survives any terminal, pipe and file name.

    Raises:
        ValueError: a number is infinite or not a number, which JSON does not have.
    """
    return json.dumps(value, allow_nan=False) + "\n"


class EventSink(Protocol):
    """Takes events as they come. A context manager: leaving it finishes the output, an exception discards it."""

    def __enter__(self) -> Self:
        """Open the output."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    def write(self, source: str, event: Event) -> None:
        """Write one event of ``source``."""
        ...


@dataclass(frozen=True, slots=True)
class EventFormat:
    """A text format of events."""

    name: str
    """The name on the command line."""
    suffix: str
    """Suffix of a file of this format, with the dot."""
    holds_many_sources: bool
    """True if an event names its source; if not, a file holds the events of one source."""
    header: str
    """The beginning of the file; it is there even if no event follows."""
    render: Callable[[int, str, Event], str]
    """The text of an event, from its number in the file (from 1), its source and itself."""


class EventWriter:
    """Sink: events in a format, to a file (which appears when it is whole) or to an open stream.

    Args:
        form: the format.
        target: where to write. A stream is flushed after each event, and left open.

    Raises:
        OutputError: the file cannot be written.
        UsageError: from ``write``: a second source in a format that holds one.
    """

    def __init__(self, form: EventFormat, target: Path | TextIO) -> None:
        self._form = form
        self._target = target
        self._stack = ExitStack()
        self._source: str | None = None
        self._num_events = 0

    def __enter__(self) -> Self:
        if isinstance(self._target, Path):
            self._stream = self._stack.enter_context(_whole_file(self._target))
        else:
            self._stream = self._target
        self._emit(self._form.header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, source: str, event: Event) -> None:
        """Write one event of ``source``."""
        if not self._form.holds_many_sources and self._source not in (None, source):
            raise UsageError(
                f"a file of the format {self._form.name} holds the events of one source, got {self._source} and "
                f"{source}: write one file for each."
            )
        self._source = source
        self._num_events += 1
        self._emit(self._form.render(self._num_events, source, event))

    def _emit(self, text: str) -> None:
        self._stream.write(text)
        if self._stream is self._target:
            self._stream.flush()


@contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """An open file that takes ``path``'s place at the end. Names that are not valid Unicode are escaped."""
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


_CARRIED: dict[Modality, str] = {"audio": "heard", "visual": "seen", "both": "heard and seen"}


def one_line(text: str) -> str:
    """``text`` with every run of white space, line ends and tabs included, as one space."""
    return " ".join(text.split())


def caption(event: Event) -> str:
    """Describe an event to people: ``gunshot 87% (heard)``."""
    return f"{one_line(event.class_name)} {event.confidence:.0%} ({_CARRIED[event.modality]})"


def cue_times(event: Event, decimal_mark: str) -> str:
    """``00:00:01.920 --> 00:00:03.200``; the end is at least a millisecond after the start, as players ask."""
    start_ms = round(event.start_s * 1000)
    end_ms = max(round(event.end_s * 1000), start_ms + 1)
    return f"{_clock(start_ms, decimal_mark)} --> {_clock(end_ms, decimal_mark)}"


def _clock(time_ms: int, decimal_mark: str) -> str:
    total_s, ms = divmod(time_ms, 1000)
    minutes, seconds = divmod(total_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{ms:03}"


def _render_jsonl(number: int, source: str, event: Event) -> str:
    return json_line(SourceEventRecord.in_source(source, event).as_dict())


JSONL = EventFormat("jsonl", ".jsonl", holds_many_sources=True, header="", render=_render_jsonl)


COLUMNS = ("source", "class", "start_s", "end_s", "peak_s", "confidence", "modality")


def _row(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _render_csv(number: int, source: str, event: Event) -> str:
    return _row(SourceEventRecord.in_source(source, event).as_dict().values())


CSV = EventFormat("csv", ".csv", holds_many_sources=True, header=_row(COLUMNS), render=_render_csv)


def _render_srt(number: int, source: str, event: Event) -> str:
    return f"{number}\n{cue_times(event, ',')}\n{caption(event)}\n\n"


SRT = EventFormat("srt", ".srt", holds_many_sources=False, header="", render=_render_srt)


def _render_vtt(number: int, source: str, event: Event) -> str:
    # The escaping keeps "-->" out of the text as well, which would be taken for a cue's times.
    return f"{cue_times(event, '.')}\n{html.escape(caption(event), quote=False)}\n\n"


VTT = EventFormat("vtt", ".vtt", holds_many_sources=False, header="WEBVTT\n\n", render=_render_vtt)


def _render_audacity(number: int, source: str, event: Event) -> str:
    return f"{event.start_s:.6f}\t{event.end_s:.6f}\t{caption(event)}\n"


AUDACITY = EventFormat("audacity", ".txt", holds_many_sources=False, header="", render=_render_audacity)


CHANNEL = 1
ABSENT = "<NA>"


def _field(text: str) -> str:
    return re.sub(r"\s", "_", text) or ABSENT


def _render_rttm(number: int, source: str, event: Event) -> str:
    fields = (
        "SPEAKER",
        _field(source),
        CHANNEL,
        f"{event.start_s:.3f}",
        f"{event.end_s - event.start_s:.3f}",
        ABSENT,
        ABSENT,
        _field(event.class_name),
        f"{event.confidence:.4f}",
        ABSENT,
    )
    return " ".join(map(str, fields)) + "\n"


RTTM = EventFormat("rttm", ".rttm", holds_many_sources=True, header="", render=_render_rttm)


FORMATS: dict[str, EventFormat] = {form.name: form for form in (JSONL, CSV, SRT, VTT, AUDACITY, RTTM)}
"""All formats by name, in the order in which help lists them."""


def event_format(name: str) -> EventFormat:
    """The format called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"no format is called {name}; choose from {', '.join(FORMATS)}.")
    return FORMATS[name]


def open_sink(name: str, target: Path | TextIO) -> EventSink:
    """A sink that writes the format called ``name`` to a file or an open stream; enter it before writing.

    Raises:
        UsageError: there is no such format.
    """
    return EventWriter(event_format(name), target)


def paths_for(sources: Sequence[str], folder: Path, name: str) -> list[Path]:
    """A file in ``folder`` for each source, named after it; namesakes are numbered: ``a.srt``, ``a-2.srt``.

    For formats whose files hold the events of one source. Names are compared without case, as some file systems do.
    """
    suffix = event_format(name).suffix
    taken: set[str] = set()
    paths = []
    for source in sources:
        stem = "stdin" if source == "-" else PurePosixPath(source.replace("\\", "/")).stem or "source"
        candidate, number = stem, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.casefold())
        paths.append(folder / f"{candidate}{suffix}")
    return paths
