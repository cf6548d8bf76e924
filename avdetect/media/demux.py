"""Packets of two streams, each pulled at its own pace from one container."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import partial
from typing import Protocol

from av.container.input import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Stream

from avdetect.errors import MediaError
from avdetect.media.clock import ClockRepair
from avdetect.media.losses import Damage

__all__ = ["Demuxer", "Lull", "PacketSource"]

MAX_QUEUED_BYTES = 32 << 20
MAX_QUEUED_PACKETS = 4096
MAX_PEEKED_PACKETS = 1024
MAX_READ_ERRORS_IN_A_ROW = 16


class Lull(Enum):
    """Why there is no packet."""

    END = "the stream has ended"
    STARVED = "nothing can be had of this stream until the other one has gone on"


class PacketSource(Protocol):
    """Where a decoder gets its packets from."""

    def pull(self, index: int) -> Packet[Stream] | Lull:
        """Next packet of the stream with this index."""
        ...


class Demuxer:
    """Hands out the packets of each stream in order, whatever their order in the file, in bounded memory.

    Packets of the stream that is not being asked for wait in a queue. When a queue is full (the file is badly
    interleaved, or the wanted stream ended early), the wanted stream is read from a container of its own from then on,
    where the source can be opened twice; from a pipe the stream counts as starved until the queue has room again.
    """

    def __init__(
        self,
        container: InputContainer,
        streams: Sequence[Stream],
        clock: ClockRepair,
        damage: Damage,
        reopen: Callable[[], InputContainer] | None,
        name: str,
    ) -> None:
        """Read some streams of a container.

        Args:
            container: open, at its beginning.
            streams: which.
            clock: repairs timestamps; it has to see packets in the order of the file.
            damage: is told of what cannot be read.
            reopen: opens the same source again; ``None`` for pipes.
            name: of the source, for messages.
        """
        self._container = container
        self._clock = clock
        self._damage = damage
        self._reopen = reopen
        self._name = name
        self._queues: dict[int, deque[tuple[Packet[Stream], int | None]]] = {
            stream.index: deque() for stream in streams
        }
        """Packets, and their decoding timestamps as the file has them."""
        self._ahead: deque[Packet[Stream]] = deque()
        """Packets that were looked at before it was their turn."""
        self._queued_bytes = 0
        self._last_dts: dict[int, int | None] = {stream.index: None for stream in streams}
        self._main = _reader(container, set(self._queues), damage, name)
        self._own: dict[int, Iterator[Packet[Stream]]] = {}
        self._own_containers: list[InputContainer] = []

    def pull(self, index: int) -> Packet[Stream] | Lull:
        """Next packet of the stream with this index."""
        if index in self._own:
            packet = next(self._own[index], None)
            if packet is None:
                return Lull.END
            self._clock.repair(packet)
            return packet
        queue = self._queues[index]
        while not queue:
            if self._is_full():
                return self.pull(index) if self._separate(index) else Lull.STARVED
            packet = self._ahead.popleft() if self._ahead else next(self._main, None)
            if packet is None:
                return Lull.END
            if packet.stream_index in self._queues and packet.stream_index not in self._own:
                dts = packet.dts
                self._clock.repair(packet, partial(self._peek, packet.stream_index))
                self._queues[packet.stream_index].append((packet, dts))
                self._queued_bytes += packet.size
        packet, dts = queue.popleft()
        self._queued_bytes -= packet.size
        if dts is not None:
            self._last_dts[index] = dts
        return packet

    def _peek(self, index: int) -> Iterator[Packet[Stream]]:
        """Packets of a stream that have not been taken from the container, as far as they are near."""
        at = 0
        while at < MAX_PEEKED_PACKETS:
            if at == len(self._ahead):
                following = next(self._main, None)
                if following is None:
                    return
                self._ahead.append(following)
            packet = self._ahead[at]
            at += 1
            if packet.stream_index == index:
                yield packet

    def drop(self, stream: Stream) -> None:
        """Read this stream no longer."""
        self._queued_bytes -= sum(packet.size for packet, _ in self._queues.pop(stream.index))
        self._own.pop(stream.index, None)
        stream.discard = Discard.all

    def seek(self, stream: Stream, ticks: int) -> None:
        """Go to the last key frame of ``stream`` at or before ``ticks`` of its time base.

        Raises:
            FFmpegError: the container cannot seek.
        """
        self._container.seek(ticks, stream=stream)
        self._clock.restart()
        for queue in self._queues.values():
            queue.clear()
        self._ahead.clear()
        self._queued_bytes = 0
        self._last_dts = dict.fromkeys(self._last_dts)
        self._main = _reader(self._container, set(self._queues), self._damage, self._name)
        self._close_own()

    def close(self) -> None:
        """Close every container."""
        self._close_own()
        self._container.close()

    def _close_own(self) -> None:
        self._own.clear()
        for container in self._own_containers:
            container.close()
        self._own_containers.clear()

    def _is_full(self) -> bool:
        num_packets = sum(len(queue) for queue in self._queues.values())
        return self._queued_bytes > MAX_QUEUED_BYTES or num_packets > MAX_QUEUED_PACKETS

    def _separate(self, index: int) -> bool:
        """Read a stream from a container of its own from here on; false where that is impossible."""
        if self._reopen is None:
            return False
        last_dts = self._last_dts[index]
        try:
            container = self._reopen()
        except MediaError:  # a server that allows one connection, say
            self._reopen = None
            return False
        self._own_containers.append(container)
        try:
            if last_dts is not None:
                container.seek(last_dts, stream=container.streams[index])
        except (FFmpegError, IndexError):  # IndexError: the stream shows up later in the file
            self._reopen = None
            return False
        packets = _reader(container, {index}, self._damage, self._name)
        self._own[index] = packets if last_dts is None else _after(packets, last_dts)
        self._container.streams[index].discard = Discard.all
        return True


def _after(packets: Iterator[Packet[Stream]], dts: int) -> Iterator[Packet[Stream]]:
    """Those that follow the packet with this decoding timestamp."""
    for packet in packets:
        if packet.dts is not None and packet.dts > dts:
            yield packet
            break
    yield from packets


def _reader(container: InputContainer, wanted: set[int], damage: Damage, name: str) -> Iterator[Packet[Stream]]:
    """Packets of the ``wanted`` streams in the order of the file, past what cannot be read."""
    streams = list(container.streams)
    for stream in streams:
        stream.discard = Discard.default if stream.index in wanted else Discard.all
    errors_in_a_row = 0
    while errors_in_a_row < MAX_READ_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux([stream for stream in streams if stream.index in wanted]):
                errors_in_a_row = 0
                if packet.has_sidedata("encryption_info"):
                    raise MediaError(f"{name}: is encrypted, and there is no key to it.")
                if packet.size:  # demux() ends with empty packets that ask decoders for the rest
                    yield packet
            return
        except FFmpegError:
            errors_in_a_row += 1
            damage.num_read_errors += 1
        except IndexError:  # PyAV's, at the end of a container in which streams have come up on the way
            return
