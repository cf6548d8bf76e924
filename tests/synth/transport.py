"""MPEG-TS taken apart: what no muxer will write."""

from __future__ import annotations

from collections.abc import Callable

PACKET_BYTES = 188
TICKS_PER_S = 90_000
AUDIO_PID = 0x101
"""Of ffmpeg's files of one film and one sound track."""


def retimed(data: bytes, pid: int, time_s: Callable[[float], float]) -> bytes:
    """``data`` with other timestamps in the stream ``pid``: at the time ``t`` it says ``time_s(t)``.

    ``t`` counts from the stream's first timestamp; the packets stay where they are.
    """
    changed = bytearray(data)
    first: int | None = None
    for packet in range(0, len(data), PACKET_BYTES):
        at = _pes_header(data, packet, pid)
        if at is None:
            continue
        for flag, stamp_at in ((0x80, at + 9), (0x40, at + 14)):
            if data[at + 7] & flag:
                ticks = _stamp(data[stamp_at : stamp_at + 5])
                first = ticks if first is None else first
                now = first + round(time_s((ticks - first) / TICKS_PER_S) * TICKS_PER_S)
                changed[stamp_at : stamp_at + 5] = _stamped(now % 2**33, data[stamp_at] & 0xF0)
    return bytes(changed)


def _pes_header(data: bytes, packet: int, pid: int) -> int | None:
    """Where, in the packet that begins at ``packet``, a PES packet of the stream begins; ``None``: nowhere."""
    begins = data[packet + 1] & 0x40
    if not begins or (data[packet + 1] & 0x1F) << 8 | data[packet + 2] != pid:
        return None
    adaptation_bytes = 1 + data[packet + 4] if data[packet + 3] & 0x20 else 0
    return packet + 4 + adaptation_bytes


def _stamp(field: bytes) -> int:
    """The 33 bits of a timestamp."""
    return (field[0] >> 1 & 7) << 30 | field[1] << 22 | field[2] >> 1 << 15 | field[3] << 7 | field[4] >> 1


def _stamped(ticks: int, marker: int) -> bytes:
    """A timestamp as it is written, after its four marker bits."""
    middle, low = (ticks >> 15 & 0x7FFF) << 1 | 1, (ticks & 0x7FFF) << 1 | 1
    return bytes([marker | (ticks >> 30) << 1 | 1]) + middle.to_bytes(2, "big") + low.to_bytes(2, "big")
