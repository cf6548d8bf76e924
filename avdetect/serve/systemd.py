"""What systemd is told of the service, where it asks: that it is ready, alive, or ending (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from avdetect.serve.listener import EngineListener

__all__ = ["Watchdog", "notify"]


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
