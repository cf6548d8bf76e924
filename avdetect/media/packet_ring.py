"""The last seconds of a live source as they came in, for clips of what has just happened."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from avdetect.media.packet_queue import Received

__all__ = ["PacketRing"]

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
