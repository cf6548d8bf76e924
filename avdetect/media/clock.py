"""Timestamps that break off: jumps and wraps are repaired to one continuous clock, for all streams alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from av.packet import Packet
from av.stream import Stream

__all__ = ["ClockRepair", "Jump", "WallClock"]

FORWARD_JUMP_S = 10
"""A step ahead beyond this is a jump of the clock, in formats whose clock may jump (as in FFmpeg)."""
ABSURD_JUMP_S = 30 * 3600
"""A step ahead beyond this is a jump in every format (as in FFmpeg)."""
BACKWARD_JUMP_S = Fraction(1, 2)
"""A step back beyond this is a jump; a smaller one is an overlap."""
WRAP_BITS = (33, 32)
"""Widths after which counters start again at zero: MPEG's, and those of 32-bit formats."""
_SHIFTS_KEPT = 16
"""A stream meets a jump soon after the other one; a source that is read for a year jumps without end."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A repaired jump of the clock."""

    time_s: Fraction
    """Where, on the repaired clock."""
    step_s: Fraction
    """By how much the timestamps jumped."""


@dataclass(slots=True)
class _Track:
    """State of one stream, in ticks of its time base."""

    time_base: Fraction
    forward_ticks: int
    backward_ticks: int
    begin: int | None = None
    """When its first packet is shown, raw."""
    offset: int = 0
    """Repaired minus raw."""
    expected: int | None = None
    """Where the next packet should start on the repaired clock."""
    end: int = 0
    """When its last packet has been shown, on the repaired clock."""


class ClockRepair:
    """Shifts the timestamps of packets, stream by stream, so that the clock never jumps.

    When the clock of the whole file jumps, each stream meets the jump at a slightly different place. The first
    to meet it decides the shift and the others take the same one, so that they stay in step. A single stream that
    pauses while another goes on has a gap, not a jump, and is left alone.
    """

    def __init__(self, streams: Iterable[Stream], *, clock_may_jump: bool) -> None:
        """Repair ``streams``; ``clock_may_jump``: the format is one whose clock may jump ahead (MPEG-TS)."""
        forward_s = FORWARD_JUMP_S if clock_may_jump else ABSURD_JUMP_S
        self.jumps: list[Jump] = []
        self._shifts = deque([Fraction(0)], maxlen=_SHIFTS_KEPT)
        self._tracks: dict[int, _Track] = {}
        for stream in streams:
            time_base = stream.time_base or Fraction(1, 1_000_000)
            self._tracks[stream.index] = _Track(time_base, int(forward_s / time_base), int(BACKWARD_JUMP_S / time_base))

    def restart(self) -> None:
        """Forget what comes next: the source is about to seek."""
        for track in self._tracks.values():
            track.expected = None

    def begin_again(self) -> None:
        """The source is about to be read from its beginning once more: that follows the end of the longest stream."""
        begun = [(track, track.begin) for track in self._tracks.values() if track.begin is not None]
        if not begun:
            return
        end = max(track.end * track.time_base for track, _ in begun)
        shift = end - min(begin * track.time_base for track, begin in begun)
        self._shifts.append(shift)
        for track in self._tracks.values():
            track.offset = round(shift / track.time_base)
        self.restart()

    def repair(self, packet: Packet[Stream]) -> None:
        """Shift ``packet.pts`` and ``packet.dts`` to the repaired clock, in place."""
        raw = packet.dts if packet.dts is not None else packet.pts
        if raw is None:
            return
        track = self._tracks[packet.stream_index]
        if track.expected is not None:
            step = raw + track.offset - track.expected
            if not -track.backward_ticks <= step <= track.forward_ticks:
                self._resync(track, raw)
        shown = raw if packet.pts is None else packet.pts
        if track.begin is None:
            track.begin = shown
        track.end = max(track.end, shown + track.offset + (packet.duration or 0))
        track.expected = raw + track.offset + (packet.duration or 0)
        if track.offset:
            packet.dts = None if packet.dts is None else packet.dts + track.offset
            packet.pts = None if packet.pts is None else packet.pts + track.offset

    def _resync(self, track: _Track, raw: int) -> None:
        assert track.expected is not None
        step = raw + track.offset - track.expected
        if step > 0 and self._another_is_near(track, raw + track.offset):
            return
        for offset in self._known_offsets(track):
            if self._is_next(track, raw + offset):
                track.offset = offset
                return
        track.offset = track.expected - raw
        self._shifts.append(track.offset * track.time_base)
        self.jumps.append(Jump(track.expected * track.time_base, step * track.time_base))

    def _known_offsets(self, track: _Track) -> Iterable[int]:
        """Those that other streams have taken, the newest first, and those of a counter that wrapped."""
        yield from (round(shift / track.time_base) for shift in reversed(self._shifts))
        yield from (track.offset + (1 << bits) for bits in WRAP_BITS)

    def _is_next(self, track: _Track, stamp: int) -> bool:
        """Whether a packet at ``stamp`` follows on what came before it, or on a pause that others went on in."""
        assert track.expected is not None
        step = stamp - track.expected
        if step < -track.backward_ticks:
            return False
        return step * track.time_base <= FORWARD_JUMP_S or self._another_is_near(track, stamp)

    def _another_is_near(self, track: _Track, stamp: int) -> bool:
        time_s = stamp * track.time_base
        return any(
            abs(other.expected * other.time_base - time_s) <= FORWARD_JUMP_S
            for other in self._tracks.values()
            if other is not track and other.expected is not None
        )


_WINDOW_S = 30.0
"""Longer than a segment of HLS, whose packets come in all at once."""
_MIN_PACKETS = 50
"""Of a stream in a window; fewer may all have been held up."""


@dataclass(slots=True)
class _Seen:
    """What came of a stream within a window."""

    offset_s: float = inf
    num_packets: int = 0


class WallClock:
    """Learns from when packets come in; the one that came the soonest after its media time knows best.

    Packets are held up on their way now and then, but never come before what they show has happened.
    """

    def __init__(self) -> None:
        self.offset_s = inf
        """Monotonic time minus media time, as far as known."""
        self.drift_s = 0.0
        """By how much the wall clock has since run away from the media's."""
        self.skew_s = 0.0
        """By how much one stream has since run away from another."""
        self._fixed_s: float | None = None
        self._window_end_s: float | None = None
        self._window: dict[int, _Seen] = {}
        self._first: dict[int, float] = {}  # the offset of each stream in the first window in which it came

    def see(self, stream: int, media_s: float, at_s: float) -> None:
        """A packet of ``stream`` whose content ends at ``media_s`` came in at ``at_s`` by the monotonic clock."""
        offset_s = at_s - media_s
        if self._fixed_s is None:
            self.offset_s = min(self.offset_s, offset_s)
            return
        if self._window_end_s is None:
            self._window_end_s = at_s + _WINDOW_S
        elif at_s >= self._window_end_s:
            self._compare(self._window, self._fixed_s)
            self._window = {}
            self._window_end_s = at_s + _WINDOW_S
        seen = self._window.setdefault(stream, _Seen())
        seen.offset_s = min(seen.offset_s, offset_s)
        seen.num_packets += 1

    def fix(self) -> float:
        """Hold on to the offset learnt so far, and give it; from here on only the drift is looked at."""
        self._fixed_s = self.offset_s
        return self.offset_s

    def _compare(self, window: Mapping[int, _Seen], fixed_s: float) -> None:
        """Compare a window that is over with what was before."""
        self.drift_s = min(seen.offset_s for seen in window.values()) - fixed_s
        known = {stream: seen.offset_s for stream, seen in window.items() if seen.num_packets >= _MIN_PACKETS}
        runs_s = [offset_s - self._first.setdefault(stream, offset_s) for stream, offset_s in known.items()]
        self.skew_s = max(runs_s) - min(runs_s) if runs_s else 0.0
