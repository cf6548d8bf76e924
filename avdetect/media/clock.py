"""Timestamps that break off: jumps and wraps are repaired to one continuous clock, for all streams alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
MAX_REORDERED_PICTURES = 17
"""Of H.264 and HEVC: by so many pictures presentation times may go back."""
MAX_JUMPS = 8
"""After more, timestamps that leave longer gaps than there are media are believed no longer."""
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
    near_ticks: int
    latest: int | None
    """No gap leads past it."""
    gaps: int = 0
    """How long all gaps are."""
    filled: int = 0
    """How long all packets are."""
    begin: int | None = None
    """When its first packet is shown, raw."""
    offset: int = 0
    """Repaired minus raw."""
    expected: int | None = None
    """Where the next packet should start on the repaired clock."""
    num_off: int = 0
    """So many packets, this one included, are off; then ``usual_offset`` is right again."""
    usual_offset: int = 0
    is_decoding_time: bool = True
    """Whether ``expected`` is a decoding time, as it is where packets have one; presentation times go to and fro."""
    end: int = 0
    """When its last packet has been shown, on the repaired clock."""


class ClockRepair:
    """Shifts the timestamps of packets, stream by stream, so that the clock never jumps.

    When the clock of the whole file jumps, each stream meets the jump at a slightly different place. The first
    to meet it decides the shift and the others take the same one, so that they stay in step; a stream that begins
    later does so too. A single stream that pauses while another goes on has a gap, not a jump, and is left alone. A
    single packet whose time is off is put where the one before it ended.
    """

    def __init__(
        self, streams: Iterable[Stream], *, clock_may_jump: bool, declared_end_s: Fraction | None = None
    ) -> None:
        """Repair some streams of a container.

        Args:
            streams: which.
            clock_may_jump: the format is one whose clock may jump ahead, such as MPEG-TS.
            declared_end_s: where the media end by the container's own account, on its clock. A gap never leads past
                it: that would be a jump, too.
        """
        forward_s = FORWARD_JUMP_S if clock_may_jump else ABSURD_JUMP_S
        self._clock_may_jump = clock_may_jump
        self._latest_s = None if declared_end_s is None else declared_end_s + FORWARD_JUMP_S + declared_end_s / 10
        self.jumps: list[Jump] = []
        self._num_jumps = 0
        self._is_lost = False
        """Whether timestamps have proved to be worth nothing: then each packet follows on the one before it."""
        self._shifts = deque([Fraction(0)], maxlen=_SHIFTS_KEPT)
        self._tracks: dict[int, _Track] = {}
        for stream in streams:
            time_base = stream.time_base or Fraction(1, 1_000_000)
            self._tracks[stream.index] = _Track(
                time_base,
                int(forward_s / time_base),
                int(BACKWARD_JUMP_S / time_base),
                int(FORWARD_JUMP_S / time_base),
                None if self._latest_s is None else int(self._latest_s / time_base),
            )

    def restart(self) -> None:
        """Forget what comes next: the source is about to seek."""
        for track in self._tracks.values():
            track.expected = None
            if track.num_off:
                track.num_off, track.offset = 0, track.usual_offset

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

    def repair(self, packet: Packet[Stream], peek: Callable[[], Iterator[Packet[Stream]]] | None = None) -> None:
        """Shift ``packet.pts`` and ``packet.dts`` to the repaired clock, in place.

        Args:
            packet: the next one in the order of the file.
            peek: gives some of the packets of its stream that follow, as they are in the file, where that is possible.
        """
        raw = packet.dts if packet.dts is not None else packet.pts
        if raw is None:
            return
        track = self._tracks.get(packet.stream_index)
        if track is None:
            return
        is_decoding_time = packet.dts is not None
        wait = 0 if packet.pts is None else abs(packet.pts - raw)
        if wait > track.near_ticks and wait > MAX_REORDERED_PICTURES * (packet.duration or 0):
            packet.pts = raw  # no picture waits for so long to be shown
        if track.expected is None:
            self._begin(track, raw)
        elif track.num_off > 0:
            track.num_off -= 1
            if track.num_off == 0:
                track.offset = track.usual_offset
        elif is_decoding_time == track.is_decoding_time:
            self._check(track, raw, packet, peek)
        track.is_decoding_time = is_decoding_time
        shown = raw if packet.pts is None else packet.pts
        if track.begin is None:
            track.begin = shown
        track.end = max(track.end, shown + track.offset + (packet.duration or 0))
        track.filled += packet.duration or 0
        track.expected = raw + track.offset + (packet.duration or 0)
        if track.offset:
            packet.dts = None if packet.dts is None else packet.dts + track.offset
            packet.pts = None if packet.pts is None else packet.pts + track.offset

    def _begin(self, track: _Track, raw: int) -> None:
        """The first packet of a stream, or the first after seeking: it is where the other streams are.

        It may have come late, after a jump.
        """
        if not any(other.expected is not None for other in self._tracks.values()):
            if track.latest is None or track.begin is not None or raw <= track.latest:
                return
            track.offset = -raw
        else:
            for offset in (track.offset, *self._known_offsets(track)):
                if self._another_is_near(track, raw + offset):
                    track.offset = offset
                    return
            is_late = track.latest is not None and raw + track.offset > track.latest
            if not (is_late or self._clock_may_jump):  # the streams are not interleaved
                return
            ends = [o.expected * o.time_base for o in self._tracks.values() if o.expected is not None]
            track.offset = round(max(ends) / track.time_base) - raw
        shift = track.offset * track.time_base
        self._shifts.append(shift)
        self.jumps.append(Jump((raw + track.offset) * track.time_base, -shift))

    def _check(
        self, track: _Track, raw: int, packet: Packet[Stream], peek: Callable[[], Iterator[Packet[Stream]]] | None
    ) -> None:
        """Choose another offset where a packet does not follow on the one before it."""
        assert track.expected is not None
        stamp = raw + track.offset
        step = stamp - track.expected
        backward_ticks = track.backward_ticks
        if packet.dts is None:
            backward_ticks = max(backward_ticks, MAX_REORDERED_PICTURES * (packet.duration or 0))
        if -backward_ticks <= step <= backward_ticks:
            return
        track.num_off = 0 if peek is None else _num_off(track, step, peek())
        if track.num_off > 0:
            track.usual_offset = track.offset
            self._shift(track, raw, step)
        elif self._is_lost:
            self._shift(track, raw, step)
        elif (
            (track.latest is not None and stamp > track.latest)
            or step < 0
            or (step > track.forward_ticks and not self._another_is_near(track, stamp))
        ):
            self._resync(track, raw, step)
        else:
            track.gaps += step
            self._judge()

    def _resync(self, track: _Track, raw: int, step: int) -> None:
        """The clock has jumped by ``step``: do as another stream has done, or go on where the packet before ended."""
        for offset in self._known_offsets(track):
            if self._is_next(track, raw + offset):
                track.offset = offset
                return
        self._shift(track, raw, step)
        self._shifts.append(track.offset * track.time_base)

    def _shift(self, track: _Track, raw: int, step: int) -> None:
        """Go on where the packet before ended."""
        assert track.expected is not None
        track.offset = track.expected - raw
        self.jumps.append(Jump(track.expected * track.time_base, step * track.time_base))
        self._num_jumps += 1
        self._judge()

    def _judge(self) -> None:
        """More gaps than media, between jumps: these times are noise."""
        self._is_lost = self._num_jumps > MAX_JUMPS and any(t.gaps > t.filled for t in self._tracks.values())

    def _known_offsets(self, track: _Track) -> Iterable[int]:
        """Those that other streams have taken, the newest first, and those of a counter that wrapped."""
        yield from (round(shift / track.time_base) for shift in reversed(self._shifts))
        yield from (track.offset + (1 << bits) for bits in WRAP_BITS)

    def _is_next(self, track: _Track, stamp: int) -> bool:
        """Whether a packet at ``stamp`` follows on what came before it, or on a pause that others went on in."""
        assert track.expected is not None
        step = stamp - track.expected
        if step < -track.backward_ticks or (track.latest is not None and stamp > track.latest):
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


def _num_off(track: _Track, step: int, following: Iterable[Packet[Stream]]) -> int:
    """How many packets, from one that is off by ``step`` on, come before one that is in its place; 0: all that follow.

    That one is off in turn, by as much in the other direction, from the packet before it.
    """
    if track.expected is None:
        return 0
    last_step = step
    for count, packet in enumerate(following, 1):
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            continue
        step_after = stamp + track.offset - track.expected
        rest = step_after - (last_step - step)  # what would be left of the step
        if -track.backward_ticks <= rest <= min(track.near_ticks, max(track.backward_ticks, abs(step) // 2)):
            return count
        if abs(step_after - last_step) > track.backward_ticks:  # off again, in another way
            return 0
        last_step = step_after
    return 0


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
