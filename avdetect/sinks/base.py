"""What a sink is, and the one that writes events as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from avdetect.errors import OutputError, UsageError
from avdetect.events.event import Event
from avdetect.sinks.atomic import replacing

__all__ = ["EventFormat", "EventSink", "EventWriter"]


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
    """How events look in a text file."""

    name: str
    """As on the command line."""
    suffix: str
    """Of a file of this format, with the dot."""
    holds_many_sources: bool
    """Whether an event says which source it is of; if not, a file holds the events of one."""
    header: str
    """What the file starts with; there even if no event follows."""
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
    with replacing(path) as temporary:
        try:
            with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                yield file
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
