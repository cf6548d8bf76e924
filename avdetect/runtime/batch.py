"""Many sources, some of them at once; one that fails does not stop the others."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from avdetect.errors import AvdetectError

if TYPE_CHECKING:
    from avdetect.features.encoding import Progress

_STOPPING_S = 3.0
"""The time for which an interrupted program waits for its threads."""

T = TypeVar("T")
Work = Callable[[str], T]
"""A function from a source to its result."""
Failed = Callable[[str, str], T]
"""A function from a source that failed, and the reason, to its result."""


class BatchListener:
    """Told how a batch gets on. What is not overridden is ignored.

    ``begin`` is called before any work, the other methods by the threads that work.
    """

    def begin(self, sources: Sequence[str]) -> None:
        """These are going to be worked on."""

    def note(self, message: str) -> None:
        """Something that the user should know of how the model was loaded."""

    def progress(self, source: str, progress: Progress) -> None:
        """A source has come so far."""

    def finish(self, source: str) -> None:
        """A source is done, or has failed."""


@dataclass(frozen=True, slots=True)
class FailedSource:
    """A source that could not be used; the others of its batch were."""

    source: str
    error: str
    """Why, in a sentence."""


class Cancelled(AvdetectError):  # noqa: N818 - nothing went wrong
    """Raised by work that notices that the program was interrupted."""


def attempt(work: Work[T], failed: Failed[T], source: str) -> T:
    """``work(source)``, or what says why not."""
    try:
        return work(source)
    except AvdetectError as error:
        return failed(source, str(error))
    except Exception as error:  # a bug that one file brings out must not cost the night's other thousand
        if os.environ.get("AVDETECT_DEBUG"):
            traceback.print_exc()
        return failed(
            source,
            f"{source}: internal error ({type(error).__name__}: {error}); please report it with the traceback that "
            "avdetect --debug shows.",
        )


def in_order(
    sources: Sequence[str], work: Work[T], failed: Failed[T], *, jobs: int, cancel: threading.Event
) -> Iterator[T]:
    """Yield the results of ``sources`` in their order, each as soon as it and all before it are there.

    Args:
        sources: what to work on.
        work: works on one source; raises ``Cancelled`` when ``cancel`` is set.
        failed: what stands for a source that ``work`` raised an error on.
        jobs: how many sources at once.
        cancel: set when interrupted, for ``work`` to notice. What was finished by then is still handed over before
            ``KeyboardInterrupt`` goes on.
    """
    # Also one at a time is a thread's work: where FFmpeg calls back to read a pipe, a Ctrl-C would be swallowed.
    waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    for item in enumerate(sources):
        waiting.put(item)
    finished: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    # Daemons: one that hangs in a read of a dead network drive must not keep an interrupted program alive.
    workers = [
        threading.Thread(
            target=_work_off, args=(waiting, finished, work, failed, cancel), name=f"score-{number}", daemon=True
        )
        for number in range(min(jobs, len(sources)))
    ]
    for worker in workers:
        worker.start()
    early: dict[int, T] = {}
    try:
        for number in range(len(sources)):
            while number not in early:
                index, outcome = finished.get()
                early[index] = outcome
            yield early.pop(number)
    except KeyboardInterrupt:
        _stop(workers, cancel)
        while not finished.empty():
            index, outcome = finished.get()
            early[index] = outcome
        yield from (early[index] for index in sorted(early))
        raise
    finally:
        _stop(workers, cancel)  # also where who asked has had enough: a thread that runs on would abort the exit


def watched(
    work: Callable[[str, Callable[[Progress], None]], T], listener: BatchListener, cancel: threading.Event
) -> Work[T]:
    """``work`` that takes a source and what to tell its progress, as ``in_order`` wants it: it ends when cancelled."""

    def working(source: str) -> T:
        def tell(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            listener.progress(source, progress)

        try:
            return work(source, tell)
        finally:
            listener.finish(source)

    return working


def _stop(workers: Sequence[threading.Thread], cancel: threading.Event) -> None:
    cancel.set()
    for worker in workers:
        worker.join(_STOPPING_S)


def _work_off(
    waiting: queue.SimpleQueue[tuple[int, str]],
    finished: queue.SimpleQueue[tuple[int, T]],
    work: Work[T],
    failed: Failed[T],
    cancel: threading.Event,
) -> None:
    while not cancel.is_set():
        try:
            index, source = waiting.get_nowait()
        except queue.Empty:
            return
        outcome = attempt(work, failed, source)
        if not cancel.is_set():
            finished.put((index, outcome))
