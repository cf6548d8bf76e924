"""Decoded sound of any layout, format and rate to mono chunks at one rate."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice, takewhile
from math import ceil

import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame as DecodedSound
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from avdetect.media.decode import ENDED, Ended, SoundClock, decoded_sound
from avdetect.media.demux import PacketSource
from avdetect.media.losses import Damage
from avdetect.media.packets import AudioChunk

__all__ = ["AudioTrack"]

BLOCK_S = Fraction(1)
"""Sound is resampled in pieces of this length: a call for each of 47 frames a second costs 2.5 times as much."""
RESAMPLER_DELAY_S = Fraction(3, 1000)
"""The resampler holds back the last 16 samples of the lower rate: with so much more, a piece reaches its border."""
JITTER_S = 0.03
"""Timestamps this far from where the samples before them ended are taken for imprecise; beyond, the clock is right."""

_CHECKED_FRAMES = 16
"""At the beginning of a stream."""

Format = tuple[str, str, int]
"""Sample format, channel layout, rate in Hz."""


class AudioTrack:
    """One audio stream, on the clock of the grid."""

    def __init__(
        self,
        stream: AudioStream,
        packets: PacketSource,
        damage: Damage,
        rate_hz: int,
        *,
        block_s: Fraction = BLOCK_S,
        samples_decide: bool = False,
    ) -> None:
        """One audio stream.

        Args:
            stream: which.
            packets: where its packets come from.
            damage: is told of what cannot be decoded.
            rate_hz: of the chunks.
            block_s: chunks end where the frames first reach past a multiple of this on the grid.
            samples_decide: the container stores no timestamps; see :class:`avdetect.media.decode.SoundClock`.
        """
        self.stream = stream
        self._packets = packets
        self._damage = damage
        self._rate_hz = rate_hz
        self._block_s = block_s
        self._samples_decide = samples_decide
        self.time_base = stream.time_base or Fraction(1, stream.rate)
        self._frames: Iterator[DecodedSound | None] = iter(())
        self.end: Fraction | None = None
        """Where the sound so far ends, on the stream's clock."""
        self.is_late = False
        """Whether nothing has come of it yet though the other stream has gone on: it may still come."""

    def start(self) -> Fraction | None:
        """Decode up to the first sound; its time on the stream's clock, ``None`` if there is none to be had.

        To be called again after a seek.
        """
        decoded = decoded_sound(self.stream, self._packets, self._damage)
        self._frames = decoded
        first = next(decoded, ENDED)
        self.is_late = first is None
        if first is None or isinstance(first, Ended):
            return None
        self._frames = chain([first], decoded)
        self.end = self._clock(False).ticks(first) * self.time_base
        return self.end

    def chunks(self, origin: Fraction, begin: Fraction, end: Fraction | None) -> Iterator[AudioChunk | None]:
        """Sound in ``[begin, end)``, seconds from ``origin``; ``None`` where the stream is starved."""
        heard = begin
        for chunk in self._runs(origin, end):
            if chunk is None:
                yield None
                continue
            trimmed = _within(chunk, heard, end, self._rate_hz)
            if trimmed is not None:
                heard = trimmed.time + Fraction(trimmed.samples.size, self._rate_hz)
                self.end = origin + heard
                yield trimmed

    def _runs(self, origin: Fraction, end: Fraction | None) -> Iterator[AudioChunk | None]:
        """Chunks of stretches without a hole; where timestamps overlap, so do the chunks."""
        run: _Run | None = None
        samples_decide, frames = self._checked()
        clock = self._clock(samples_decide)
        for frame in frames:
            if frame is None:
                yield None
                continue
            ticks = clock.ticks(frame)
            time = None
            if run is not None and not (run.is_due(ticks) and run.format == _format(frame)):
                if run.is_due(ticks):  # a change of format is no hole
                    time = run.end
                yield from run.finish()
                run = None
            if run is None:
                time = ticks * self.time_base - origin if time is None else time
                run = _Run(frame, time, self.time_base, origin, self._rate_hz, self._block_s)
            if end is not None and run.end >= end:
                break
            yield from run.push(frame)
        if run is not None:
            yield from run.finish()

    def _checked(self) -> tuple[bool, Iterator[DecodedSound | None]]:
        """Whether the first timestamps lie closer together than their samples are long, as true ones never do.

        Also gives all the frames.
        """
        if self._samples_decide:
            return True, self._frames
        head = list(takewhile(lambda frame: frame is not None, islice(self._frames, _CHECKED_FRAMES)))
        frames = [frame for frame in head if frame is not None]
        clock = self._clock(False)
        starts = [clock.ticks(frame) * self.time_base for frame in frames]
        ends = [start + Fraction(frame.samples, frame.sample_rate) for start, frame in zip(starts, frames, strict=True)]
        num_overlaps = sum(end - after > JITTER_S for end, after in zip(ends, starts[1:], strict=False))
        # Where there were fewer, the stream has ended, or is starved: then it is asked again.
        return 2 * num_overlaps > _CHECKED_FRAMES, chain(head, self._frames)

    def _clock(self, samples_decide: bool) -> SoundClock:
        return SoundClock(self.time_base, self._damage, samples_decide=samples_decide)


class _Run:
    """A stretch of sound of one format without a hole, on its way through the resampler."""

    def __init__(
        self,
        first: DecodedSound,
        time: Fraction,
        time_base: Fraction,
        origin: Fraction,
        rate_hz: int,
        block_s: Fraction,
    ) -> None:
        self.format = _format(first)
        self._time = time
        self._time_base = float(time_base)
        self._ticks = float((time + origin) / time_base)
        self._rate_hz = rate_hz
        self._block_s = block_s
        self._num_in = 0
        self._num_out = 0
        self._fifo = AudioFifo()
        # Float output is not scaled by default: two loud channels would add up to more than 1.
        self._resampler = AudioResampler("flt", "mono", rate_hz, options={"rematrix_maxval": "1.0"})
        self._aim()

    @property
    def end(self) -> Fraction:
        """Where the samples so far end, seconds from the origin."""
        return self._time + Fraction(self._num_in, self.format[2])

    def is_due(self, ticks: int) -> bool:
        """Whether a frame that starts at ``ticks`` goes on where this run ends."""
        late_s = (ticks - self._ticks) * self._time_base - self._num_in / self.format[2]
        return abs(late_s) <= JITTER_S

    def push(self, frame: DecodedSound) -> Iterator[AudioChunk]:
        self._num_in += frame.samples
        frame.pts = None  # the fifo would check it
        self._fifo.write(frame)
        if self._num_in >= self._block_samples:
            self._aim()
            yield from self._resampled(self._fifo.read())

    def finish(self) -> Iterator[AudioChunk]:
        if self._fifo.samples:
            yield from self._resampled(self._fifo.read())
        yield from self._resampled(None)

    def _aim(self) -> None:
        """Work out how many samples of the run reach past the next border between blocks."""
        border = ((self.end - RESAMPLER_DELAY_S) // self._block_s + 1) * self._block_s + RESAMPLER_DELAY_S
        self._block_samples = ceil((border - self._time) * self.format[2])

    def _resampled(self, block: DecodedSound | None) -> Iterator[AudioChunk]:
        frames = self._resampler.resample(block)
        pieces = [frame.to_ndarray()[0] for frame in frames if frame is not None]
        if not pieces:
            return
        samples = _finite(np.concatenate(pieces).astype(np.float32, copy=False))
        yield AudioChunk(self._time + Fraction(self._num_out, self._rate_hz), samples)
        self._num_out += samples.size


def _format(frame: DecodedSound) -> Format:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Damaged float files hold infinities and worse; one would spoil every score after it."""
    return np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _within(chunk: AudioChunk, begin: Fraction, end: Fraction | None, rate_hz: int) -> AudioChunk | None:
    """The part of ``chunk`` in ``[begin, end)``; ``None`` if nothing is left."""
    first = max(0, ceil((begin - chunk.time) * rate_hz))
    last = chunk.samples.size if end is None else ceil((end - chunk.time) * rate_hz)
    samples = chunk.samples[first : max(first, last)]
    if samples.size == 0:
        return None
    return AudioChunk(chunk.time + Fraction(first, rate_hz), samples) if first else AudioChunk(chunk.time, samples)
