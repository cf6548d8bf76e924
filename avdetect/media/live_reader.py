"""The thread that reads a live source: it does nothing that could keep the network waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import cast

from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.error import ExitError, FFmpegError
from av.format import Flags as FormatFlags
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from avdetect.errors import MediaError
from avdetect.media.clock import ClockRepair, WallClock
from avdetect.media.live_buffer import PacketQueue, PacketRing, Received
from avdetect.media.live_input import LiveInput, failure
from avdetect.media.live_options import LiveOptions
from avdetect.media.losses import Damage
from avdetect.media.pipe import StalledError

__all__ = ["LiveReader", "StreamEnd"]

_CAUGHT_UP_S = 0.01
"""A packet that was waited for so long had not come in before."""
_MAX_READ_ERRORS_IN_A_ROW = 16
_MAX_JUMPS = 5
"""More jumps of the clock within ``_JUMPS_WITHIN_S`` cannot be made sense of."""
_JUMPS_WITHIN_S = 10.0
_MAX_DRIFT_S = 2.0
"""Between the media's clock and the wall clock, before the wall-clock times are worked out anew."""
_CLOSE_WITHIN_S = 0.3
_BYTES_PER_MEGABYTE = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Why there is no more of a source."""

    reason: str
    """Stable, for programs: ``ended``, ``stalled``, ``lost``, ``undecodable``, ``format-change``, ``timestamp-jump``,
    ``clock-drift``, ``stopped``."""
    message: str
    """One sentence, without credentials."""


class LiveReader:
    """Reads packets, repairs their clock, and hands them to a queue and a ring."""

    def __init__(
        self,
        source: LiveInput,
        streams: Sequence[VideoStream | AudioStream],
        options: LiveOptions,
        damage: Damage,
        reopen: Callable[[], InputContainer],
    ) -> None:
        """Begin to read.

        Args:
            source: open; it belongs to the reader from here on.
            streams: which of its streams; where decoding can begin, the first one decides.
            options: of the source.
            damage: is told of what cannot be read.
            reopen: opens a file again that is to be played in a loop.
        """
        self._source = source
        self._options = options
        self._damage = damage
        self._reopen = reopen
        self._wanted = {stream.index for stream in streams}
        self._entry_index = streams[0].index
        self._seconds_per_tick = {stream.index: float(stream.time_base or Fraction(1, 1)) for stream in streams}
        jumps_at_will = source.container.format.flags & cast(int, FormatFlags.ts_discont.value)
        self._clock = ClockRepair(streams, clock_may_jump=bool(jumps_at_will) or not source.is_file)
        self._jumped_at_s: deque[float] = deque(maxlen=_MAX_JUMPS)
        self._last_time_s = 0.0
        self._waited_since_s = inf
        self._paced_from: tuple[float, float] | None = None
        waits = options.waits(is_patient=source.is_patient)
        self.queue = PacketQueue(max_lag_s=None if waits else options.max_lag_s)
        """What has not been decoded yet."""
        self.ring = PacketRing(
            streams, max_s=options.ring_s, max_bytes=round(options.ring_megabytes * _BYTES_PER_MEGABYTE)
        )
        """What has come in lately."""
        self.wall_clock = WallClock()
        self.caught_up = threading.Event()
        """Set once a packet had to be waited for."""
        self.end: StreamEnd | None = None
        """Why reading has ended."""
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._finished = self._abandoned = False
        self._select(source.container)
        self._thread = threading.Thread(target=self._run, name="avdetect-read", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read no further, and close the source: at once, or as soon as FFmpeg comes back from waiting for it."""
        self._stopping.set()
        self.queue.close()
        if self._source.pipe is not None:
            self._source.pipe.interrupt()
        self._thread.join(_CLOSE_WITHIN_S)
        with self._lock:
            self._abandoned = True
            if self._finished:
                self._source.close()

    @property
    def is_live(self) -> bool:
        """Whether packets come when what they show happens."""
        return not self._source.is_patient

    def _run(self) -> None:
        try:
            end = self._read()
        except Exception:
            _log.exception("%s: reading failed.", self._source.name)
            end = StreamEnd("lost", f"{self._source.name}: reading failed.")
        self.end = end
        self.queue.close()
        self.caught_up.set()
        with self._lock:
            self._finished = True
            if self._abandoned:
                self._source.close()

    def _read(self) -> StreamEnd:
        """Read for as long as the media have no gap."""
        name = self._source.name
        container = self._source.container
        errors_in_a_row = 0
        while not self._stopping.is_set():
            try:
                for packet in self._packets(container):
                    errors_in_a_row = 0
                    end = self._take(packet)
                    if end is not None:
                        return end
                if not (self._options.loop and self._source.is_file) or self._stopping.is_set():
                    return StreamEnd("ended", f"{name}: has ended.")
                container = self._rewound(container)
            except (ExitError, StalledError):
                return StreamEnd("stalled", f"{name}: nothing came for {self._options.stall_timeout_s:g} s.")
            except (ConnectionError, TimeoutError, MediaError) as error:
                return StreamEnd("lost", str(failure(error, name, "read on", self._options.stall_timeout_s)))
            except FFmpegError as error:
                errors_in_a_row += 1
                self._damage.num_read_errors += 1
                if errors_in_a_row >= _MAX_READ_ERRORS_IN_A_ROW:
                    return StreamEnd("lost", str(failure(error, name, "read on", self._options.stall_timeout_s)))
        return StreamEnd("stopped", f"{name}: was stopped.")

    def _packets(self, container: InputContainer) -> Iterator[Packet[Stream]]:
        """Those that have content."""
        streams = [stream for stream in container.streams if stream.index in self._wanted]
        return (packet for packet in container.demux(streams) if packet.size)

    def _take(self, packet: Packet[Stream]) -> StreamEnd | None:
        """Hand on a packet; why it has to be the last one, if so."""
        at_s = time.monotonic()
        self._clock.repair(packet)
        seconds_per_tick = self._seconds_per_tick[packet.stream_index]
        pts, dts = packet.pts, packet.dts
        stamp = pts if dts is None else dts
        if stamp is not None:
            self._last_time_s = stamp * seconds_per_tick
            shown = stamp if pts is None else max(pts, stamp)
            if self._options.realtime:
                at_s = self._pace(self._last_time_s, at_s)
            self.wall_clock.see(packet.stream_index, (shown + (packet.duration or 0)) * seconds_per_tick, at_s)
        is_entry = packet.stream_index == self._entry_index and packet.is_keyframe
        received = Received(packet, at_s, self._last_time_s, is_entry)
        self.ring.add(received)
        if not self.queue.put(received):
            return StreamEnd("stopped", f"{self._source.name}: was stopped.")
        if not self.caught_up.is_set() and at_s - self._waited_since_s > _CAUGHT_UP_S:
            self.caught_up.set()
        self._waited_since_s = time.monotonic()
        return self._trouble(at_s)

    def _trouble(self, at_s: float) -> StreamEnd | None:
        """What keeps the media from going on as they are."""
        name = self._source.name
        if self._options.loop:
            self._clock.jumps.clear()
        if self._clock.jumps:
            jump = self._clock.jumps[-1]
            self._clock.jumps.clear()
            too_many = len(self._jumped_at_s) == _MAX_JUMPS and at_s - self._jumped_at_s[0] < _JUMPS_WITHIN_S
            if too_many and not self._source.is_file:
                return StreamEnd("timestamp-jump", f"{name}: its timestamps jump again and again.")
            self._jumped_at_s.append(at_s)
            _log.warning("%s: the timestamps jump by %+.2f s; the clock was repaired.", name, float(jump.step_s))
        drift_s = self.wall_clock.drift_s
        if abs(drift_s) > _MAX_DRIFT_S and self.is_live:
            return StreamEnd("clock-drift", f"{name}: its clock has drifted by {drift_s:+.1f} s from the time of day.")
        skew_s = self.wall_clock.skew_s
        if skew_s > self._options.max_skew_s / 2 and not self._source.is_file:
            return StreamEnd("clock-drift", f"{name}: its sound and its pictures have drifted apart by {skew_s:.1f} s.")
        return None

    def _pace(self, time_s: float, now_s: float) -> float:
        """Wait until ``time_s`` is due, in a file that is played at its own speed."""
        if self._paced_from is None:
            self._paced_from = time_s, now_s
        first_time_s, first_at_s = self._paced_from
        wait_s = first_at_s + time_s - first_time_s - now_s
        if wait_s > 0:
            self._stopping.wait(wait_s)
        return time.monotonic()

    def _rewound(self, container: InputContainer) -> InputContainer:
        """The same file from its beginning; seeking would flush the decoders, which another thread uses."""
        if container is not self._source.container:
            container.close()
        again = self._reopen()
        self._select(again)
        self._clock.begin_again()
        return again

    def _select(self, container: InputContainer) -> None:
        for stream in container.streams:
            stream.discard = Discard.default if stream.index in self._wanted else Discard.all
