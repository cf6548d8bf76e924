"""Signals that ask a long-running command to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["on_signals"]


@contextmanager
def on_signals(handlers: dict[signal.Signals, Callable[[], None]]) -> Iterator[None]:
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
