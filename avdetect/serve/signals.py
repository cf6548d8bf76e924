"""What the operating system tells a long-running command (signals), and what systemd is told of it (sd_notify(3))."""

from __future__ import annotations

import os
import queue
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType

from avdetect.serve.feeds.listener import EngineListener

__all__ = ["Order", "Orders", "Watchdog", "notify", "on_signals", "orders_by_signal", "stop_or_abort"]

_SAME_WITHIN_S = 1.0
"""Who ends a group of processes often signals its leader twice."""


class Order(Enum):
    """What a service is told to do."""

    STOP = 1
    RELOAD = 2


class _StoppedEarly(BaseException):
    """Told to stop while loading; as with ``KeyboardInterrupt``, no ``except Exception`` may take it."""


class Orders:
    """What a service has been told and has still to do; see ``orders_by_signal``."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._abort: Callable[[], None] | None = None

    def give(self, order: Order) -> None:
        """Add an order; from any thread or signal handler."""
        self._waiting.put(order)

    def next(self, timeout_s: float) -> Order | None:
        """Wait for the next; ``None`` where none came in time."""
        try:
            return self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def obey_from_here(self, abort: Callable[[], None]) -> None:
        """All has been loaded: whoever reads the orders stops when told to. ``abort`` ends at once."""
        self._abort = abort

    def stop(self) -> None:
        """Told to stop: leave the loading, where that is not over."""
        self.give(Order.STOP)
        if self._abort is None:
            raise _StoppedEarly

    def abort(self) -> None:
        """Told to stop again, a while later."""
        if self._abort is not None:
            self._abort()


@contextmanager
def orders_by_signal() -> Iterator[Orders]:
    """Orders that SIGHUP, SIGTERM and Ctrl-C give.

    To be entered before anything is loaded: to read the configuration again is remembered until there is a service that
    can. To stop ends the loading; the body of the ``with`` is left then, quietly. SIGHUP is taken even where it was
    ignored from the start, as ``nohup`` has it: it ends nothing.
    """
    orders = Orders()
    hang_up = {signal.SIGHUP: lambda: orders.give(Order.RELOAD)} if hasattr(signal, "SIGHUP") else {}
    with (
        suppress(_StoppedEarly),
        on_signals(hang_up, even_ignored=True),
        on_signals(stop_or_abort(orders.stop, orders.abort)),
    ):
        yield orders


@contextmanager
def on_signals(handlers: Mapping[signal.Signals, Callable[[], None]], *, even_ignored: bool = False) -> Iterator[None]:
    """Call a function, which must not block, when a signal comes.

    Args:
        handlers: by signal.
        even_ignored: also take signals that were ignored from the start, which otherwise stay so.
    """
    before = {number: signal.getsignal(number) for number in handlers}

    def take(number: int, _frame: FrameType | None) -> None:
        handlers[signal.Signals(number)]()

    for number in handlers:
        if even_ignored or before[number] is not signal.SIG_IGN:
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


def notify(state: str) -> None:
    """Send ``state``, such as ``READY=1``, to the service manager that started us, if one wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract sockets
    kind = (
        socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    )  # a manager that does not read holds up nobody
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
        manager.connect(address)
        manager.send(state.encode())


class Watchdog(EngineListener):
    """Tells systemd that the engine turns, twice in each ``WatchdogSec`` of the unit; it starts anew what hangs."""

    def __init__(self) -> None:
        watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        asked = os.environ.get("WATCHDOG_USEC", "")
        self._interval_s = int(asked) / 2e6 if watched and asked.isdecimal() else None
        self._told_s = -float("inf")

    def on_turn(self) -> None:
        """Say so, if it is time."""
        now_s = time.monotonic()
        if self._interval_s is not None and now_s - self._told_s >= self._interval_s:
            self._told_s = now_s
            notify("WATCHDOG=1")
