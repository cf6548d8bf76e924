"""Signals that end a command: SIGTERM and SIGHUP keep what is finished and leave nothing behind, as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "exit_code_of", "interrupts_held", "stop_on_signals"]

_INTERRUPTED = 130
_SIGNALS = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end; all that keeps what is finished on Ctrl-C keeps it now.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code_of(error: KeyboardInterrupt) -> int:
    """Give the exit code that a shell would report: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + error.number if isinstance(error, Stopped) else _INTERRUPTED


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise ``Stopped`` from now on; one that is ignored, as by ``nohup``, stays ignored."""
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_restore)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def _restore() -> None:
    """A process that a library forks ends the way its parent expects."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let a first signal wait for the end of the block, where something is being written; a second does not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        if held:
            raise _as_error(number)
        held.append(number)

    ours = [number for number in (signal.SIGINT, *_SIGNALS) if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, hold) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise _as_error(held[0])


def _as_error(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else Stopped(number)
