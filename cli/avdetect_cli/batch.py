"""Many sources, some of them at once; one that fails does not stop the others."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

from avdetect.errors import AvdetectError
from avdetect_cli.finding import Finding

__all__ = ["Cancelled", "attempt", "in_order"]

_STOPPING_S = 3.0
"""How long an interrupted program waits for its threads."""

Work = Callable[[str], Finding]


class Cancelled(AvdetectError):  # noqa: N818 - nothing went wrong
    """Raised by work that notices that the program was interrupted."""


def attempt(work: Work, source: str) -> Finding:
    """``work(source)``, or a finding that says why not."""
    try:
        return work(source)
    except AvdetectError as error:
        return Finding(source, error=str(error))
    except Exception as error:  # a bug that one file brings out must not cost the night's other thousand
        if os.environ.get("AVDETECT_DEBUG"):
            traceback.print_exc()
        return Finding(
            source,
            error=f"{source}: internal error ({type(error).__name__}: {error}); please report it with the traceback "
            "that avdetect --debug shows.",
        )


def in_order(sources: Sequence[str], work: Work, *, jobs: int, cancel: threading.Event) -> Iterator[Finding]:
    """The findings of ``sources``, in their order, as soon as they and all before them are there.

    Args:
        sources: what to work on.
        work: makes a finding of one source; raises ``Cancelled`` when ``cancel`` is set.
        jobs: how many sources at once.
        cancel: set when interrupted, for ``work`` to notice. What was finished by then is still handed over before
            ``KeyboardInterrupt`` goes on.
    """
    if jobs == 1 or len(sources) == 1:
        yield from (attempt(work, source) for source in sources)
        return
    waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    for item in enumerate(sources):
        waiting.put(item)
    finished: queue.SimpleQueue[tuple[int, Finding]] = queue.SimpleQueue()
    # Daemons: one that hangs in a read of a dead network drive must not keep an interrupted program alive.
    workers = [
        threading.Thread(target=_work_off, args=(waiting, finished, work, cancel), name=f"score-{number}", daemon=True)
        for number in range(min(jobs, len(sources)))
    ]
    for worker in workers:
        worker.start()
    early: dict[int, Finding] = {}
    try:
        for number in range(len(sources)):
            while number not in early:
                index, finding = finished.get()
                early[index] = finding
            yield early.pop(number)
    except KeyboardInterrupt:
        cancel.set()
        for worker in workers:
            worker.join(_STOPPING_S)
        while not finished.empty():
            index, finding = finished.get()
            early[index] = finding
        yield from (early[index] for index in sorted(early))
        raise
    finally:
        cancel.set()


def _work_off(
    waiting: queue.SimpleQueue[tuple[int, str]],
    finished: queue.SimpleQueue[tuple[int, Finding]],
    work: Work,
    cancel: threading.Event,
) -> None:
    while not cancel.is_set():
        try:
            index, source = waiting.get_nowait()
        except queue.Empty:
            return
        finding = attempt(work, source)
        if not cancel.is_set():
            finished.put((index, finding))
