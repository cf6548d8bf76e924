"""How far scoring is, on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from avdetect.errors import printable
from avdetect.runtime.batch import BatchListener
from avdetect_cli import terminal
from avdetect_cli.terminal.text import say, show_duration, show_speed

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from avdetect.features.encoding import Progress

__all__ = ["ProgressDisplay"]


class ProgressDisplay(BatchListener):
    """One bar on stderr for every source being scored, and one for all of them where there are many.

    Leaves nothing behind: what comes after is the result's place. Nothing is drawn, and nothing of rich is loaded,
    before the first progress is reported; by then decoding runs beside it.

    Args:
        enabled: ``False`` to draw nothing at all.
        quiet: whether to leave out notes.
    """

    def __init__(self, *, enabled: bool, quiet: bool = False) -> None:
        self.quiet = quiet
        self._num_sources = 0
        self._enabled = enabled
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._overall: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._num_done = 0

    def begin(self, sources: Sequence[str]) -> None:
        """Learn how many sources there are."""
        self._num_sources = len(sources)

    def note(self, message: str) -> None:
        """Say it on standard error."""
        say(f"avdetect: note: {message}", quiet=self.quiet)

    def progress(self, source: str, progress: Progress) -> None:
        """Report how far ``source`` is. Any thread may call it."""
        if not self._enabled:
            return
        speed = progress.done_s / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
        left = ""
        if progress.total_s is not None and speed > 0:
            left = f"{show_duration(max(progress.total_s - progress.done_s, 0.0) / speed)} left"
        speed_text = f"{show_speed(speed)} real time"
        with self._lock:
            bars = self._started()
            task = self._tasks.get(source)
            if task is None:
                self._tasks[source] = bars.add_task(
                    _short(source), total=progress.total_s, completed=int(progress.done_s), speed=speed_text, left=left
                )
            else:
                bars.update(task, completed=progress.done_s, speed=speed_text, left=left)

    def finish(self, source: str) -> None:
        """Take the bar of ``source`` away. Any thread may call it."""
        with self._lock:
            self._num_done += 1
            if self._bars is None:
                return
            if source in self._tasks:
                self._bars.remove_task(self._tasks.pop(source))
            if self._overall is not None:
                self._bars.update(self._overall, completed=self._num_done, speed=self._count())

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Leave the terminal to someone else for a moment."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            try:
                yield
            finally:
                if self._bars is not None and self._num_done < self._num_sources:
                    self._bars.start()

    def close(self) -> None:
        """Take all bars away."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()

    def _count(self) -> str:
        return f"{self._num_done} of {self._num_sources}"

    def _started(self) -> Bars:
        if self._bars is None:
            self._bars = terminal.bars.source_bars()
            if self._num_sources > 1:
                self._overall = self._bars.add_task(
                    "all", total=self._num_sources, completed=self._num_done, speed=self._count(), left=""
                )
            self._bars.start()
        return self._bars


def _short(source: str) -> str:
    """The end of a path, where it differs from the others."""
    name = "standard input" if source == "-" else printable(source)
    return name if len(name) <= 32 else f"...{name[-29:]}"
