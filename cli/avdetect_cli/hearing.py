"""Hears recordings, some of them at once, with progress: what ``index`` and ``query`` do alike."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from avdetect.errors import MediaError
from avdetect.runtime.hearing import Ears, Heard
from avdetect.runtime.result import Progress
from avdetect.search.catalogue import Stamp
from avdetect_cli.batch import Cancelled, in_order
from avdetect_cli.progress import ProgressDisplay

__all__ = ["Hearing", "hear_all"]


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """A recording that was heard, or one that failed."""

    source: str
    stamp: Stamp | None = None
    """As the file was before it was heard; ``None`` where it failed."""
    heard: Heard | None = None
    """``None`` where it failed."""
    error: str | None = None


def hear_all(sources: Sequence[str], ears: Ears, *, jobs: int, quiet: bool) -> Iterator[Hearing]:
    """Hear ``sources``, files all of them; in their order, each as soon as it and all before it were heard."""
    cancel = threading.Event()

    def work(source: str) -> Hearing:
        def show(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            display.update(source, progress)

        try:
            stamp = Stamp.of(source)
            return Hearing(source, stamp, ears.hear(source, on_progress=show))
        except OSError as error:
            raise MediaError(f"{source}: {error.strerror or error}.") from error
        finally:
            display.finish(source)

    with closing(ProgressDisplay(len(sources), enabled=sys.stderr.isatty() and not quiet)) as display:
        yield from in_order(sources, work, _failed, jobs=jobs, cancel=cancel)


def _failed(source: str, error: str) -> Hearing:
    return Hearing(source, error=error)
