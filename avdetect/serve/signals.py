"""Signals that tell a long-running command what to do."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

__all__ = ["on_signals", "stop_or_abort"]

_SAME_WITHIN_S = 1.0
"""Who ends a group of processes often signals its leader twice."""


@contextmanager
def on_signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Call a function, which must not block, when a signal comes. One that was ignored from the start stays ignored."""
    before = {number: signal.getsignal(number) for number in handlers}

    def take(number: int, _frame: FrameType | None) -> None:
        handlers[signal.Signals(number)]()

    for number in handlers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_or_abort(stop: Callable[[], None], abort: Callable[[], None]) -> dict[signal.Signals, Callable[[], None]]:
    """Handlers of Ctrl-C and SIGTERM: the first calls ``stop``, one that comes a while later ``abort``."""
    first_s: float | None = None

    def take() -> None:
        nonlocal first_s
        now_s = time.monotonic()
        if first_s is None:
            first_s = now_s
            stop()
        elif now_s - first_s > _SAME_WITHIN_S:
            abort()

    return {signal.SIGINT: take, signal.SIGTERM: take}
