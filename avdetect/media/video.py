"""Decoded pictures to at most one small picture per cell of the grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import ceil
from statistics import median

from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame as DecodedPicture
from av.video.stream import VideoStream

from avdetect.media.decode import ENDED, Ended, PresentationClock, decoded_pictures
from avdetect.media.demux import PacketSource
from avdetect.media.losses import Damage
from avdetect.media.packets import StreamPlan, VideoFrame
from avdetect.media.planes import Orientation, PictureMaker, orientation_of

__all__ = ["CellClock", "VideoTrack"]

HOLD_INTERVALS = Fraction(3, 2)
"""A picture stands in for missing ones for one and a half frame intervals, and for a hop at least."""
MIN_INTERVALS, MEDIAN_INTERVALS = 3, 9
"""How many intervals tell the frame rate; before, the stream is asked."""
DEFAULT_FRAME_RATE_HZ = Fraction(25)
"""For streams that state none."""
LOOK_EVERY_S = 5
"""How often to look whether pictures are mirrored, which their rotation alone does not tell."""
COVERED_CELLS_KEPT = 1024
NUM_UNSPARED_PACKETS = 32
"""Nothing is spared so early: how far a decoder reads before its first picture, and so before the grid is known,
depends on its threads, on which no score should depend."""


class CellClock:
    """Ticks of a stream to cells of the grid, in whole numbers: a ``Fraction`` per packet would be felt."""

    def __init__(self, time_base: Fraction, origin: Fraction, cell: Fraction) -> None:
        """``time_base``: seconds per tick; ``origin``: of the grid, on the stream's clock; ``cell``: its length."""
        scale, shift = time_base / cell, origin / cell
        self._factor = scale.numerator * shift.denominator
        self._bias = shift.numerator * scale.denominator
        self._divisor = scale.denominator * shift.denominator

    def cell(self, ticks: int) -> int:
        """Which cell, counted from the origin, ``ticks`` lies in."""
        return (ticks * self._factor - self._bias) // self._divisor


@dataclass(slots=True)
class _Picked:
    """The last picture so far that starts in its cell."""

    frame: DecodedPicture
    ticks: int
    cell: int
    duration: Fraction
    """For which it is meant to be shown, in seconds."""


class VideoTrack:
    """One video stream, laid on the grid of a plan."""

    def __init__(
        self,
        stream: VideoStream,
        packets: PacketSource,
        damage: Damage,
        plan: StreamPlan,
        pictures: PictureMaker,
    ) -> None:
        self.stream = stream
        self._context = stream.codec_context
        self._packets = packets
        self._damage = damage
        self._plan = plan
        self._pictures = pictures
        self.time_base = stream.time_base or 1 / DEFAULT_FRAME_RATE_HZ
        rate_hz = stream.average_rate or stream.guessed_rate or DEFAULT_FRAME_RATE_HZ
        self._interval = 1 / Fraction(rate_hz)
        self._intervals = deque[int](maxlen=MEDIAN_INTERVALS)
        self._intra_only = stream.codec.intra_only
        self._origin = Fraction(0)
        self._grid: CellClock | None = None
        self._covered: set[int] = set()
        self._num_unspared = NUM_UNSPARED_PACKETS
        self._sparing = False
        self._frames: Iterator[DecodedPicture | None] = iter(())
        self.end: Fraction | None = None
        """Where the last picture seen so far ends, on the stream's clock."""
        self.is_late = False
        """Whether nothing has come of it yet though the other stream has gone on: it may still come."""
        self._spared_until: int | None = None
        """Where the last picture that was not decoded ends, in ticks."""
        self.orientation = Orientation()
        self._shown = self.orientation
        self._turned_by = 0
        self._looked_at = 0

    def start(self) -> Fraction | None:
        """Decode up to the first picture; its time on the stream's clock, ``None`` if there is none to be had.

        To be called again after a seek.
        """
        self._covered.clear()
        self._intervals.clear()
        self._spared_until = None
        if self._grid is not None:  # after a seek, decide as if all had been read
            self._num_unspared = 0
        decoded = decoded_pictures(self.stream, self._packets, self._damage, self._admit)
        self._frames = decoded
        first = next(decoded, ENDED)
        self.is_late = first is None
        if first is None or isinstance(first, Ended):
            return None
        self.orientation = self._shown = orientation_of(first)
        self._turned_by = first.rotation
        self._frames = chain([first], decoded)
        self.end = PresentationClock().ticks(first, 0) * self.time_base
        return self.end

    def lay(self, origin: Fraction) -> None:
        """Lay the stream on the grid that starts at ``origin``, seconds on the stream's clock."""
        self._origin = origin
        self._grid = CellClock(self.time_base, origin, self._plan.cell)

    def frames(self, begin: Fraction, end: Fraction | None) -> Iterator[VideoFrame | None]:
        """The last picture that starts in each cell; ``None`` where the stream is starved.

        Args:
            begin: seconds from the origin; the first picture is the one on show then.
            end: seconds from the origin; no picture that starts then or later.
        """
        grid = self._grid
        assert grid is not None, "lay() comes first"
        begin_cell = begin // self._plan.cell
        end_ticks = None if end is None else ceil((self._origin + end) / self.time_base)
        presentation, usual_ticks = PresentationClock(), round(self._interval / self.time_base)
        picked: _Picked | None = None
        seen_cell = begin_cell - 1
        for frame in self._frames:
            if frame is None:
                yield None
                continue
            ticks = presentation.ticks(frame, usual_ticks)
            if end_ticks is not None and ticks >= end_ticks:
                break
            if picked is not None:
                if ticks <= picked.ticks:
                    continue
                self._intervals.append(ticks - picked.ticks)
                usual_ticks = ticks - picked.ticks
            cell = grid.cell(ticks)
            if picked is not None and picked.cell < cell and begin_cell < cell:
                shown_cell = self._last_cell(picked, cell)
                if begin_cell <= shown_cell:
                    yield self._convert(picked, seen_cell, shown_cell, end)
                    seen_cell = shown_cell
            picked = _Picked(frame, ticks, cell, (frame.duration or usual_ticks) * self.time_base)
            self.end = ticks * self.time_base + picked.duration
        if picked is not None:
            if self._spared_until is not None:
                picked.duration = max(
                    picked.duration, self._spared_until * self.time_base - picked.ticks * self.time_base
                )
                self.end = picked.ticks * self.time_base + picked.duration
            shown_cell = self._last_cell(picked, None)
            if begin_cell <= shown_cell:
                yield self._convert(picked, seen_cell, shown_cell, end, is_last=True)

    def _admit(self, packet: Packet[Stream]) -> bool:
        """Spare the decoder what the grid does not need: pictures that no other refers to, in cells that have one.

        Reordered pictures come after those they refer to, so that it is known in time.
        """
        spare = False
        if self._num_unspared > 0:
            self._num_unspared -= 1
        elif self._grid is not None and packet.pts is not None and not packet.is_discard:
            cell = self._grid.cell(packet.pts)
            spare = cell in self._covered
            if spare:
                self._spared_until = max(self._spared_until or 0, packet.pts + (packet.duration or 0))
            if len(self._covered) > COVERED_CELLS_KEPT:
                self._covered = {c for c in self._covered if c > cell - COVERED_CELLS_KEPT // 2}
            self._covered.add(cell)
        if self._intra_only:
            return not spare
        if spare != self._sparing:
            self._context.skip_frame = "NONREF" if spare else "DEFAULT"
            self._sparing = spare
        return True

    def _last_cell(self, picked: _Picked, next_cell: int | None) -> int:
        """The last cell in which the picture is on show: until the next one, but no longer than it is held."""
        end = picked.ticks * self.time_base - self._origin + self._hold()
        held = ceil(end / self._plan.cell) - 1
        return held if next_cell is None else min(held, next_cell - 1)

    def _hold(self) -> Fraction:
        interval = self._interval
        if len(self._intervals) >= MIN_INTERVALS:
            interval = Fraction(median(self._intervals)) * self.time_base
        return max(self._plan.hop, HOLD_INTERVALS * interval)

    def _orientation(self, picked: _Picked) -> Orientation:
        """How to turn a picture. What lies beside a frame keeps it in memory for a while, so it is seldom looked at."""
        is_due = picked.frame.key_frame and picked.ticks - self._looked_at > LOOK_EVERY_S / self.time_base
        if is_due or picked.frame.rotation != self._turned_by:
            self._turned_by, self._looked_at = picked.frame.rotation, picked.ticks
            self._shown = orientation_of(picked.frame)
        return self._shown

    def _convert(
        self, picked: _Picked, seen_cell: int, shown_cell: int, end: Fraction | None, *, is_last: bool = False
    ) -> VideoFrame:
        """Small pictures of a frame on show up to ``shown_cell``; others were on show up to ``seen_cell``.

        Nothing is shown after ``end``.
        """
        per_snippet = self._plan.cells_per_snippet
        # A snippet whose RGB cell went by without a picture takes the next one in it.
        first_cell = max(seen_cell + 1, picked.cell // per_snippet * per_snippet)
        cells = range(first_cell, min(shown_cell, first_cell + per_snippet - 1) + 1)
        wants_rgb = any(cell % per_snippet in self._plan.rgb_cells for cell in cells)
        orientation = self._orientation(picked)
        time = picked.ticks * self.time_base - self._origin
        return VideoFrame(
            time=time,
            # A picture with a hole after it says that it lasts as long as the hole; the last one has no such reason.
            hold=max(self._hold(), picked.duration) if is_last else self._hold(),
            duration=picked.duration if end is None else min(picked.duration, end - time),
            luma=self._pictures.luma(picked.frame, orientation),
            rgb=self._pictures.rgb(picked.frame, orientation) if wants_rgb else None,
        )
