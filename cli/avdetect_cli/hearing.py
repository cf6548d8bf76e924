"""Hears recordings, some of them at once, with progress: what ``index`` and ``query`` do alike."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from avdetect.errors import MediaError
from avdetect.runtime.hearing import Ears, Heard
from avdetect.runtime.pipeline import Progress
from avdetect.search.catalogue import Stamp
from avdetect_cli.batch import Cancelled, in_order
from avdetect_cli.progress import ProgressDisplay
from avdetect_cli.training import say

__all__ = ["Hearing", "hear_all"]


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """A recording that was heard, or one that failed."""

    source: str
    stamp: Stamp
    """As the file was before it was heard; zeros where it failed."""
    heard: Heard | None
    """``None`` where it failed."""
    error: str
    """Why; empty where it did not."""

    @staticmethod
    def failed(source: str, error: str) -> Hearing:
        """Of a recording that could not be heard, and why."""
        return Hearing(source, Stamp(0, 0), None, error)


def hear_all(sources: Sequence[str], bundle: Path, *, device: str, jobs: int, quiet: bool) -> Iterator[Hearing]:
    """Hear files; in their order, each as soon as it and all before it were heard.

    Args:
        sources: what to hear; without any, nothing is loaded.
        bundle: what hears.
        device: where it runs.
        jobs: how many files at once.
        quiet: draw no progress and say nothing.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single file.
    """
    if not sources:
        return
    ears = Ears.open(bundle, device=device)
    for note in ears.notes:
        say(f"avdetect: note: {note}", quiet=quiet)
    cancel = threading.Event()

    def work(source: str) -> Hearing:
        def show(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            display.update(source, progress)

        try:
            stamp = Stamp.of(source)
            return Hearing(source, stamp, ears.hear(source, on_progress=show), "")
        except OSError as error:
            raise MediaError(f"{source}: {error.strerror or error}.") from error
        finally:
            display.finish(source)

    with closing(ProgressDisplay(len(sources), enabled=sys.stderr.isatty() and not quiet)) as display:
        yield from in_order(sources, work, Hearing.failed, jobs=jobs, cancel=cancel)
