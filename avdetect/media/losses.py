"""What of a source was lost, by one rule for every format: how much of the declared time had sound and picture."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from avdetect.media.packets import MediaNote

__all__ = ["Coverage", "Damage", "missing_segments_s", "truncation_note"]

TOLERANCE_S = 1.0
"""Declared durations are rounded, and count streams that are not read here."""
TOLERANCE_SHARE = 0.01
MIN_HOLE_S = Fraction(1, 4)
"""Shorter holes are a matter of timestamps."""
MAX_HOLES_TOLD = 3
MIN_JUDGED_PACKETS = 20
HOPELESS_SHARE = 0.9
"""Where more than this is damaged, what could be decoded is noise."""
_HEAD_BYTES = 1 << 16


@dataclass(slots=True)
class Damage:
    """Counts of what could not be read or decoded."""

    num_packets: Counter[str] = field(default_factory=Counter)
    """Packets that were given to a decoder, by kind of stream."""
    num_undecoded: Counter[str] = field(default_factory=Counter)
    """Packets that the decoder refused, by kind of stream."""
    num_patched: Counter[str] = field(default_factory=Counter)
    """Pictures or stretches of sound that the decoder had to patch up, by kind of stream."""
    lost_s: Fraction = Fraction(0)
    """Length of the packets that the decoder refused."""
    patched_s: Fraction = Fraction(0)
    """Length of what the decoder had to patch up."""
    num_read_errors: int = 0
    """Places where the container itself was unreadable."""

    def count_undecoded(self, kind: str, length_s: Fraction) -> None:
        """The decoder of a ``kind`` of stream refused a packet of this length."""
        self.num_undecoded[kind] += 1
        self.lost_s += length_s

    def count_patched(self, kind: str, length_s: Fraction) -> None:
        """The decoder of a ``kind`` of stream patched up a frame of this length."""
        self.num_patched[kind] += 1
        self.patched_s += length_s

    @property
    def total(self) -> int:
        """Number of places that were damaged."""
        return self.num_undecoded.total() + self.num_patched.total() + self.num_read_errors

    @property
    def is_hopeless(self) -> bool:
        """Whether nearly nothing of any stream could be decoded as it was meant."""
        kinds = [kind for kind, count in self.num_packets.items() if count >= MIN_JUDGED_PACKETS]
        return bool(kinds) and all(
            self.num_undecoded[kind] + self.num_patched[kind] > HOPELESS_SHARE * self.num_packets[kind]
            for kind in kinds
        )

    def note(self) -> MediaNote | None:
        """All of it in one sentence; nothing if nothing was lost."""
        parts = [f"{n} {kind} packets could not be decoded" for kind, n in sorted(self.num_undecoded.items()) if n]
        parts += [f"{n} {kind} frames were decoded with errors" for kind, n in sorted(self.num_patched.items()) if n]
        if self.num_read_errors:
            parts.append(f"the container was unreadable in {self.num_read_errors} places")
        if not parts:
            return None
        lengths = [(self.lost_s, "lost"), (self.patched_s, "damaged")]
        told = " and ".join(
            f"about {float(length_s):.2f} s are {how}" for length_s, how in lengths if length_s >= 0.005
        )
        return MediaNote("decode-errors", f"The file is damaged: {', '.join(parts)}{told and '; '}{told}.")


class Coverage:
    """Which part of the time had sound, or pictures; told in order of time."""

    def __init__(self, what: str, begin: Fraction) -> None:
        """``what``: ``sound`` or ``picture``; ``begin``: seconds from the grid's origin."""
        self._what = what
        self._begin = begin
        self._reached = self._held_until = begin
        self._missing = Fraction(0)
        self._num_holes = 0
        self._longest: list[tuple[Fraction, Fraction]] = []
        """Length and beginning."""

    def add(self, begin: Fraction, end: Fraction, held_until: Fraction) -> None:
        """There is something from ``begin`` to ``end``, and up to ``held_until`` if something follows on it then."""
        if begin > self._held_until and begin - self._reached > MIN_HOLE_S:
            self._lack(self._reached, begin)
        self._reached = max(self._reached, end)
        self._held_until = max(self._reached, held_until)

    def note(self, end: Fraction) -> MediaNote | None:
        """What is missing up to ``end``, if it is much."""
        if end - self._reached > MIN_HOLE_S:
            self._lack(self._reached, end)
        length = end - self._begin
        if float(self._missing) <= TOLERANCE_S + TOLERANCE_SHARE * float(length):
            return None
        holes = sorted((begin, begin + length) for length, begin in self._longest)
        places = ", ".join(f"from {float(begin):.2f} to {float(stop):.2f} s" for begin, stop in holes)
        more = self._num_holes - len(holes)
        rest = f" and in {more} more places" if more else ""
        return MediaNote(
            "gap",
            f"There is no {self._what} for {float(self._missing):.1f} of {float(length):.1f} s: {places}{rest}.",
            time_s=float(holes[0][0]),
        )

    def _lack(self, begin: Fraction, end: Fraction) -> None:
        self._missing += end - begin
        self._num_holes += 1
        self._longest = sorted([*self._longest, (end - begin, begin)], reverse=True)[:MAX_HOLES_TOLD]


def truncation_note(declared_s: float | None, reached_s: float, path: Path | None) -> MediaNote | None:
    """What is missing at the end of a source that is shorter than it says of itself, in seconds or in bytes.

    Args:
        declared_s: how long it is by its own account, where it says so.
        reached_s: how much of it could be read.
        path: of the file, where it is one.
    """
    missing_s = 0.0 if declared_s is None else declared_s - reached_s
    message = f"The file ends {missing_s:.1f} s before the {declared_s or 0:.1f} s that it declares."
    if missing_s <= TOLERANCE_S + TOLERANCE_SHARE * (declared_s or 0):
        missing_s, message = 0.0, ""
    if path is not None:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            file.seek(max(0, size - _HEAD_BYTES))
            tail = file.read()
        declared = _declared_bytes(head, path) or 0
        missing_by_bytes_s = reached_s * max(0, declared - size) / size
        if missing_by_bytes_s > 2 * missing_s + TOLERANCE_S:  # FFmpeg cuts what some formats declare to what is there
            share = f"{size} of the {declared} bytes that it declares are there"
            message = f"The file is cut off: {share}; about {missing_by_bytes_s:.0f} s are missing."
        elif not message and (declared > size or _lacks_its_end(head, tail, size)):
            message = "The file is cut off: what it ends with is not complete. How much is missing cannot be told."
    return MediaNote("truncated", message, time_s=reached_s) if message else None


def _lacks_its_end(head: bytes, tail: bytes, size: int) -> bool:
    """Whether a file of a format that does not say how long it is was cut."""
    if head.startswith(b"OggS"):
        at = tail.rfind(b"OggS")
        return 0 <= at < len(tail) - 5 and not tail[at + 5] & 4  # the page does not end its stream
    is_transport_stream = len(head) > 2 * 188 and head[0] == head[188] == head[376] == 0x47
    return is_transport_stream and size % 188 != 0


def _declared_bytes(head: bytes, path: Path) -> int | None:
    """How long the file has to be by its own account."""
    if head[:4] in (b"RIFF", b"RF64") and len(head) > 12:
        size = int.from_bytes(head[4:8], "little")
        return None if size in (0, 0xFFFFFFFF) else size + 8
    if head[:4] == b"riff" and len(head) > 24:  # Sony Wave64
        return int.from_bytes(head[16:24], "little")
    if head[:4] == b"caff":
        return _caf_bytes(head)
    if head[:16] == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"):  # ASF: in its file properties
        at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
        size = int.from_bytes(head[at + 40 : at + 48], "little") if at > 0 else 0
        return size or None
    return _mp4_bytes(path) if head[4:8] in (b"ftyp", b"styp", b"moov") else None


def _caf_bytes(head: bytes) -> int | None:
    at = 8
    while at + 12 <= len(head):
        kind, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 12], "big", signed=True)
        if size < 0:  # until the end of the file
            return None
        at += 12 + size
        if kind == b"data":
            return at
    return None


def _mp4_bytes(path: Path) -> int | None:
    """Where the last of the boxes ends."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            if length < 8:  # until the end of the file
                return None
            at += length
    return at


def missing_segments_s(playlist: Path) -> Fraction:
    """How long the segments at the beginning of a local HLS playlist are whose files are not there."""
    missing, length = Fraction(0), Fraction(0)
    for line in playlist.read_text("utf-8", "replace").splitlines():
        if line.startswith("#EXTINF:"):
            try:
                length = Fraction(line[8:].split(",")[0].strip())
            except ValueError:
                return missing
        elif line.strip() and not line.startswith("#"):
            if "://" in line or (playlist.parent / line.strip()).exists():
                return missing
            missing += length
    return missing
