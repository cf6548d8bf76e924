"""Packets on their way from the network to the decoder, which may fall behind."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from av.packet import Packet
from av.stream import Stream

__all__ = ["PacketQueue", "Received"]

_MAX_BYTES = 32 << 20
_MAX_DROPPED_SPANS = 64


@dataclass(frozen=True, slots=True)
class Received:
    """A packet and when it came in."""

    packet: Packet[Stream]
    at_s: float
    """By the monotonic clock."""
    time_s: float
    """Decoding time on the container's clock."""
    is_entry: bool
    """Whether decoding can begin here."""


class PacketQueue:
    """Between one thread that puts and one that gets; bounded in bytes and, where packets may be dropped, in time.

    When the oldest packet has waited for ``max_lag_s``, the getter goes on at a packet that decoding can begin with.
    """

    def __init__(self, *, max_lag_s: float | None) -> None:
        """``max_lag_s``: ``None`` never to drop: then the putter waits for room."""
        self._max_lag_s = max_lag_s
        self._waiting: deque[Received] = deque()
        self._num_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._seeks_entry = False
        self.dropped: deque[tuple[float, float]] = deque(maxlen=_MAX_DROPPED_SPANS)
        """From when to when packets were dropped lately, on the container's clock; for the getter."""

    def put(self, received: Received) -> bool:
        """Add a packet, once there is room; false where nobody wants it any more."""
        with self._changed:
            while self._num_bytes > _MAX_BYTES and not self._closed:
                self._changed.wait()
            self._waiting.append(received)
            self._num_bytes += received.packet.size
            self._changed.notify_all()
            return not self._closed

    def get(self, timeout_s: float) -> Received | None:
        """The next packet; ``None`` where none came in time or none will come any more."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                while not self._waiting:
                    rest_s = deadline_s - time.monotonic()
                    if self._closed or rest_s <= 0:
                        return None
                    self._changed.wait(rest_s)
                self._drop_old()
                if self._waiting:
                    return self._take()

    @property
    def is_exhausted(self) -> bool:
        """Whether there is nothing more to get, now or ever."""
        with self._changed:
            return self._closed and not self._waiting

    def close(self) -> None:
        """Nothing more is put; what waits can still be got."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self) -> Received:
        received = self._waiting.popleft()
        was_full = self._num_bytes > _MAX_BYTES
        self._num_bytes -= received.packet.size
        if was_full:
            self._changed.notify_all()
        return received

    def _drop_old(self) -> None:
        """Where the oldest has waited too long, go on at the first entry that has waited half as long at most."""
        if self._seeks_entry:
            self._drop_until_entry()
        if self._max_lag_s is None or not self._waiting:
            return
        now_s = time.monotonic()
        if now_s - self._waiting[0].at_s <= self._max_lag_s:
            return
        entries = [at for at, received in enumerate(self._waiting) if received.is_entry]
        recent = [at for at in entries if now_s - self._waiting[at].at_s <= self._max_lag_s / 2]
        last = recent[0] if recent else entries[-1] if entries else len(self._waiting)
        if last == 0:  # all that waits hangs on the very first packet
            last = len(self._waiting)
        self._drop(last)
        self._seeks_entry = not self._waiting

    def _drop_until_entry(self) -> None:
        first = next((at for at, received in enumerate(self._waiting) if received.is_entry), None)
        self._drop(len(self._waiting) if first is None else first)
        self._seeks_entry = first is None

    def _drop(self, count: int) -> None:
        if count == 0:
            return
        begin_s = self._waiting[0].time_s
        for _ in range(count):
            last = self._take()
        end_s = self._waiting[0].time_s if self._waiting else last.time_s
        if self.dropped and begin_s <= self.dropped[-1][1] + 1:
            begin_s = self.dropped.pop()[0]
        self.dropped.append((begin_s, end_s))
