"""What a person, or a program, sees of a live feed while it runs."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from avdetect.errors import printable
from avdetect.events.event import FeedEvent, FeedGap, SnippetScore
from avdetect.serve.feeds.listener import ClipReady, EngineListener, FeedStatus, ScoredSnippet
from avdetect.sinks.formats import json_line
from avdetect.timebase import Span
from avdetect_cli.terminal.text import show_duration, show_time
from avdetect_cli.terminal.timeline import (
    ASCII_LEVELS,
    BLOCK_LEVELS,
    CARRIED,
    axis,
    can_encode,
    class_colour,
    class_label,
    column_peaks,
    columns_in_events,
    draw_levels,
)

__all__ = ["JsonLines", "LinesView", "LiveView"]

TIMELINE_S = 60.0
_REFRESH_INTERVAL_S = 0.25
_MAX_COLUMNS = 120
_MIN_COLUMNS = 16


class JsonLines(EngineListener):
    """Events, clips and gaps as JSON, a line each, as they change."""

    def on_event(self, event: FeedEvent) -> None:
        """A line of the kind ``event``."""
        self._write("event", event.as_dict())

    def on_gap(self, gap: FeedGap) -> None:
        """A line of the kind ``gap``."""
        self._write("gap", gap.as_dict())

    def on_gap_end(self, gap: FeedGap) -> None:
        """A line of the kind ``gap``, with its end."""
        self._write("gap", gap.as_dict())

    def on_clip(self, ready: ClipReady) -> None:
        """A line of the kind ``clip``."""
        files = {"clip": ready.clip, "thumbnail": ready.thumbnail}
        self._write(
            "clip", {"id": ready.event_id, **{name: str(path) if path else None for name, path in files.items()}}
        )

    def _write(self, kind: str, record: Mapping[str, Any]) -> None:
        sys.stdout.write(json_line({"kind": kind, **record}))
        sys.stdout.flush()


class LinesView(EngineListener):
    """A line for everything that happens; a context manager that ends with a summary.

    Args:
        console: where to write.
        classes: of the bundle.
    """

    def __init__(self, console: Console, classes: Sequence[str]) -> None:
        self._console = console
        self._classes = classes
        self._ascii = not can_encode(f"{BLOCK_LEVELS}─┬·", console.encoding)
        self._closed: Counter[str] = Counter()
        self._num_gaps = 0
        self._watched_s = 0.0
        self._status: FeedStatus | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._print(self._summary())

    def on_event(self, event: FeedEvent) -> None:
        """When it opens, and all of it when it has closed."""
        if event.stage != "updated":
            self._print(self._event_line(event))
        self._closed[event.event.class_name] += event.stage == "closed"

    def on_gap(self, gap: FeedGap) -> None:
        """Why the feed is not seen."""
        self._num_gaps += 1
        self._note(gap.started_at.strftime("%H:%M:%SZ"), gap.message)

    def on_gap_end(self, gap: FeedGap) -> None:
        """That it is seen again."""
        if gap.ended_at is not None:
            missed_s = (gap.ended_at - gap.started_at).total_seconds()
            dropped = f", {gap.num_dropped_snippets} snippets dropped" if gap.num_dropped_snippets else ""
            self._note(gap.ended_at.strftime("%H:%M:%SZ"), f"Goes on after {show_duration(missed_s)}{dropped}.")

    def on_score(self, scored: ScoredSnippet) -> None:
        """Counts what has been watched."""
        self._watched_s += scored.score.span.duration_s

    def on_state(self, status: FeedStatus) -> None:
        """Remembers it."""
        self._status = status

    def on_clip(self, ready: ClipReady) -> None:
        """Where it is."""
        self._note("clip", str(ready.clip) if ready.clip else ready.message)

    def _event_line(self, event: FeedEvent) -> Text:
        found = event.event
        span = show_time(found.start_s) + ("" if event.stage == "opened" else f" - {show_time(found.end_s)}")
        return Text.assemble(
            (f"{event.started_at:%H:%M:%SZ}  ", "bright_black"),
            f"{event.stage:<7} ",
            (f"{class_label(found.class_name):<{self._label_width}}", class_colour(self._classes, found.class_name)),
            f"  {found.confidence:.2f}  {CARRIED[found.modality]:<5}  {span}",
            ("  interrupted" if event.interrupted else "", "yellow"),
        )

    @property
    def _label_width(self) -> int:
        return max(len(class_label(name)) for name in self._classes)

    def _note(self, head: str, message: str) -> None:
        self._print(Text.assemble((f"{head}  ", "bright_black"), (printable(message), "yellow")))

    def _summary(self) -> Text:
        count = self._closed.total()
        named = ", ".join(f"{class_label(label)} x{number}" for label, number in self._closed.most_common() if number)
        gaps = f", {self._num_gaps} gap{'' if self._num_gaps == 1 else 's'}" if self._num_gaps else ""
        events = f"{count} event{'' if count == 1 else 's'} in {show_duration(self._watched_s)}"
        return Text(f"{events}{f' ({named})' if named else ''}{gaps}.", "bright_black")

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)


class LiveView(LinesView):
    """The last minute as curves that move, under the lines of events that have closed.

    Args:
        console: a terminal.
        classes: of the bundle.
        title: of the feed, without credentials.
    """

    def __init__(self, console: Console, classes: Sequence[str], title: str) -> None:
        super().__init__(console, classes)
        self._title = printable(title)
        self._recent: deque[SnippetScore] = deque()
        self._events: dict[str, FeedEvent] = {}
        self._latency_s = 0.0
        self._refreshed_s = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=sys.stderr.isatty())

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        super().__exit__(kind, error, trace)

    def on_event(self, event: FeedEvent) -> None:
        """An open event is shown in its row, a closed one has a line that stays."""
        self._events[event.id] = event
        if event.stage == "closed":
            super().on_event(event)

    def on_score(self, scored: ScoredSnippet) -> None:
        """The curves grow."""
        super().on_score(scored)
        self._latency_s = scored.latency_s
        self._recent.append(scored.score)
        begin_s = scored.score.span.end_s - TIMELINE_S
        while self._recent[0].span.end_s <= begin_s:
            self._recent.popleft()
        for event_id in [key for key, event in self._events.items() if event.event.end_s <= begin_s]:
            del self._events[event_id]

    def on_turn(self) -> None:
        """Draw anew, a few times a second."""
        now_s = time.monotonic()
        if now_s - self._refreshed_s >= _REFRESH_INTERVAL_S:
            self._refreshed_s = now_s
            self._live.update(Group(*self._lines()), refresh=True)

    def _lines(self) -> Iterator[Text]:
        yield self._state_line()
        if self._recent:
            yield from self._timeline()
        for event in self._events.values():
            if event.stage != "closed":
                yield self._event_line(event)

    def _state_line(self) -> Text:
        status = self._status
        if status is None:
            return Text(self._title, "bold")
        colour = "green" if status.state == "running" else "yellow"
        facts: list[str] = [status.state]
        if self._recent and status.state == "running":
            facts += [show_duration(self._recent[-1].span.end_s), f"{self._latency_s:.1f} s behind"]
        if status.num_reconnects:
            facts.append(f"{status.num_reconnects} reconnects")
        if status.num_dropped_snippets:
            facts.append(f"{status.num_dropped_snippets} snippets dropped")
        if status.message:
            facts.append(printable(status.message))
        separator = "  -  " if self._ascii else "  ·  "
        return Text.assemble((self._title, "bold"), separator, (separator.join(facts), colour), overflow="ellipsis")

    def _timeline(self) -> Iterator[Text]:
        end_s = self._recent[-1].span.end_s
        span = Span(max(end_s - TIMELINE_S, 0.0), max(end_s, TIMELINE_S))
        num_columns = max(min(self._console.width - self._label_width - 5, _MAX_COLUMNS), _MIN_COLUMNS)
        start_s = np.array([score.span.start_s for score in self._recent])
        ends_s = np.array([score.span.end_s for score in self._recent])
        values = np.stack([score.scores for score in self._recent])
        for column, name in enumerate(self._classes):
            own = [event.event for event in self._events.values() if event.event.class_name == name]
            peaks = column_peaks(start_s, ends_s, values[:, column], span, num_columns)
            bars = draw_levels(peaks, ASCII_LEVELS if self._ascii else BLOCK_LEVELS)
            line = Text(f"  {class_label(name):>{self._label_width}}  ")
            inside = columns_in_events(own, span, num_columns).tolist()
            for bar, bold in zip(bars, inside, strict=True):
                line.append(bar, f"bold {class_colour(self._classes, name)}" if bold else "bright_black")
            yield line
        clock = axis(span, num_columns, ascii_only=self._ascii)
        for text in (clock.marks, clock.labels):
            yield Text(" " * (self._label_width + 4) + text, "bright_black")
