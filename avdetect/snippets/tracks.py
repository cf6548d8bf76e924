"""The two streams of a source on one clock: what has come, what is still needed, what came too late.

A track takes what a source yields, in order of time, hands out what a snippet needs, and forgets what no later
snippet can need. Snippets are released one after the other, without a hole.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avdetect.media.packets import AudioChunk, VideoFrame


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """The sound of a snippet."""

    samples: NDArray[np.float32]
    """The window, ``(window_samples,)``, in an array of its own; holes are zeros."""
    covered_samples: int
    """Number of samples of the snippet itself that are real."""


class SoundTrack:
    """Samples on the grid's clock, numbered from its origin."""

    def __init__(self, rate_hz: int, window_samples: int, first_start: Fraction) -> None:
        """Sound before ``first_start`` is heard in a window but belongs to no snippet."""
        self._rate_hz = rate_hz
        self._window_samples = window_samples
        self._first = self._released = self.sample_at(first_start)
        self._chunks: deque[tuple[int, NDArray[np.float32]]] = deque()
        self.end: int | None = None
        """The sample after the last one so far; earlier samples are not taken again. ``None`` before the first."""
        self.buffered = 0
        """Number of samples kept."""
        self.late = 0
        """Number of samples that came after their snippet had been released."""

    def sample_at(self, time: Fraction) -> int:
        """The number of the sample at ``time``."""
        return math.floor(time * self._rate_hz + Fraction(1, 2))

    def has_passed(self, sample: int) -> bool:
        """Tell whether all samples before this one have come."""
        return self.end is not None and self.end >= sample

    def add(self, chunk: AudioChunk) -> None:
        """Take a chunk; what overlaps with earlier ones is dropped."""
        start, samples = self.sample_at(chunk.time), chunk.samples
        if self.end is not None and start < self.end:
            start, samples = self.end, samples[self.end - start :]
        if not len(samples):
            return
        self.end = start + len(samples)
        self.late += max(min(self.end, self._released) - max(start, self._first), 0)
        if self.end > self._released - self._window_samples:
            self._chunks.append((start, samples))
            self.buffered += len(samples)

    def release(self, start: Fraction, end: Fraction) -> Waveform:
        """The sound of the snippet ``[start, end)``, which follows on the one released before."""
        begin, stop = self.sample_at(start), self.sample_at(end)
        window_begin = stop - self._window_samples
        window = np.zeros(self._window_samples, np.float32)
        covered = 0
        for at, samples in self._chunks:
            until = at + len(samples)
            covered += max(min(until, stop) - max(at, begin), 0)
            low, high = max(at, window_begin), min(until, stop)
            if low < high:
                window[low - window_begin : high - window_begin] = samples[low - at : high - at]
        self._released = stop
        # The next snippet begins at ``stop``, its window no earlier than this one's.
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= window_begin:
            self.buffered -= len(self._chunks.popleft()[1])
        return Waveform(window, covered)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The pictures that a snippet can show."""

    before: VideoFrame | None
    """The last one before the snippet, where it is still held at its start."""
    before_rgb: VideoFrame | None
    """The last one before the snippet that has RGB, where it is still held at its start."""
    inside: tuple[VideoFrame, ...]
    """The pictures that start in the snippet, in order of time."""


class PictureTrack:
    """Pictures on the grid's clock."""

    def __init__(self, first_start: Fraction) -> None:
        """Pictures before ``first_start`` may stand in for missing ones but belong to no snippet."""
        self._first_start = self._released = first_start
        self._waiting: deque[VideoFrame] = deque()
        self._before: VideoFrame | None = None
        self._before_rgb: VideoFrame | None = None
        self.last: VideoFrame | None = None
        """The last one so far; no earlier one is taken any more."""
        self.late = 0
        """Number of pictures that came after their snippet had been released."""

    def has_passed(self, time: Fraction) -> bool:
        """Tell whether all pictures before ``time``, and one at or after it, have come."""
        return self.last is not None and self.last.time >= time

    @property
    def buffered(self) -> int:
        """Number of pictures that wait for their snippet."""
        return len(self._waiting)

    def add(self, frame: VideoFrame) -> None:
        """Take a picture; one that is not after the last one is dropped."""
        if self.last is not None and frame.time <= self.last.time:
            return
        self.last = frame
        if frame.time >= self._released:
            self._waiting.append(frame)
        else:
            self._pass(frame)
            self.late += frame.time >= self._first_start

    def release(self, start: Fraction, end: Fraction) -> Pictures:
        """The pictures of the snippet ``[start, end)``, which follows on the one released before."""
        before, before_rgb = _held(self._before, start), _held(self._before_rgb, start)
        inside = []
        while self._waiting and self._waiting[0].time < end:
            frame = self._waiting.popleft()
            self._pass(frame)
            inside.append(frame)
        self._released = end
        return Pictures(before, before_rgb, tuple(inside))

    def _pass(self, frame: VideoFrame) -> None:
        """``frame`` is before the next snippet."""
        self._before = frame
        if frame.rgb is not None:
            self._before_rgb = frame


def _held(frame: VideoFrame | None, time: Fraction) -> VideoFrame | None:
    return frame if frame is not None and frame.time + frame.hold > time else None
