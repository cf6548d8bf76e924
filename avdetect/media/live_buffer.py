"""Buffers of a live source: the queue in front of the decoder, and the ring from which clips are cut."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

__all__ = ["PacketQueue", "PacketRing", "Received"]

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


MediaStream: TypeAlias = VideoStream | AudioStream


@dataclass(slots=True)
class _Group:
    """Packets that can be decoded once the first of them was."""

    start_s: float
    packets: list[Packet[Stream]] = field(default_factory=list)
    num_bytes: int = 0


class PacketRing:
    """Whole groups of pictures, the oldest given up first; for several threads.

    It does not hold on to the container, so that a lost connection is closed at once: ``streams`` are copies.
    """

    def __init__(self, streams: Sequence[MediaStream], *, max_s: float, max_bytes: int) -> None:
        """Keep the packets of ``streams`` for ``max_s``, no more than ``max_bytes`` of them."""
        keeper = av.open(os.devnull, "w", format="null")
        self.streams = tuple(keeper.add_stream_from_template(stream, opaque=True) for stream in streams)
        """Templates to write clips with; the first is the one that clips begin with."""
        self._copies = {stream.index: copy for stream, copy in zip(streams, self.streams, strict=True)}
        self._max_s = max_s
        self._max_bytes = max_bytes
        self._keep_from_s: float | None = None
        self._groups: deque[_Group] = deque()
        self._num_bytes = 0
        self._lock = threading.Lock()
        self.end_s: float | None = None
        """The latest time so far, on the container's clock."""

    def add(self, received: Received) -> None:
        """Take a packet."""
        with self._lock:
            time_s = received.time_s
            self.end_s = time_s if self.end_s is None else max(self.end_s, time_s)
            if received.is_entry:
                self._groups.append(_Group(time_s))
                self._forget()
            elif not self._groups:
                return
            group = self._groups[-1]
            group.packets.append(received.packet)
            group.num_bytes += received.packet.size
            self._num_bytes += received.packet.size
            if self._num_bytes > self._max_bytes:
                self._forget()

    def keep_from(self, time_s: float | None) -> None:
        """Somebody will want what came since ``time_s``, however long ago it was, as far as there is room."""
        with self._lock:
            self._keep_from_s = time_s

    def since(self, start_s: float) -> list[Packet[MediaStream]]:
        """Copies of the packets from the entry at or before ``start_s`` on, or else from the first one after it.

        Their streams are ``streams``; their content is shared, their timestamps are not.
        """
        with self._lock:
            groups = list(self._groups)
            first = max((at for at, group in enumerate(groups) if group.start_s <= start_s), default=0)
            packets = [packet for group in groups[first:] for packet in group.packets]
        return [self._copied(packet) for packet in packets]

    def _copied(self, packet: Packet[Stream]) -> Packet[MediaStream]:
        copy: Packet[MediaStream] = Packet(packet)  # type: ignore[arg-type, assignment]  # any buffer will do
        copy.stream = self._copies[packet.stream_index]
        copy.time_base = packet.time_base
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.is_keyframe = packet.is_keyframe
        return copy

    def _forget(self) -> None:
        """Give up what is too old, and what is too much."""
        assert self.end_s is not None
        oldest_s = self.end_s - self._max_s
        if self._keep_from_s is not None:
            oldest_s = min(oldest_s, self._keep_from_s)
        while len(self._groups) > 1 and self._groups[1].start_s <= oldest_s:
            self._num_bytes -= self._groups.popleft().num_bytes
        while self._groups and self._num_bytes > self._max_bytes:
            self._num_bytes -= self._groups.popleft().num_bytes
