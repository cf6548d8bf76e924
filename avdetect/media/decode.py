"""Packets of one stream to decoded frames with the best timestamps to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from fractions import Fraction
from typing import TypeVar

from av.audio.frame import AudioFrame as DecodedSound
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame as DecodedPicture
from av.video.stream import VideoStream

from avdetect.media.demux import Lull, PacketSource
from avdetect.media.losses import Damage

__all__ = ["ENDED", "Ended", "PresentationClock", "SoundClock", "decoded_pictures", "decoded_sound"]

_MAX_FRAME_S = Fraction(1, 2)
"""The longest frames of sound, roughly: by so much may a timestamp after lost packets be off."""


class Ended(Enum):
    """The end of a stream, where ``None`` says that it is starved."""

    ENDED = 0


ENDED = Ended.ENDED

FrameT = TypeVar("FrameT", DecodedPicture, DecodedSound)


def decoded_pictures(
    stream: VideoStream,
    packets: PacketSource,
    damage: Damage,
    admit: Callable[[Packet[Stream]], bool],
) -> Iterator[DecodedPicture | None]:
    """Pictures in presentation order; ``None`` where the stream is starved and the other one should go on.

    Args:
        stream: which.
        packets: where its packets come from.
        damage: is told of what cannot be decoded.
        admit: is asked for every packet, in decoding order, whether to decode it.
    """
    return _frames(stream, stream.codec_context.decode, packets, damage, admit)


def decoded_sound(stream: AudioStream, packets: PacketSource, damage: Damage) -> Iterator[DecodedSound | None]:
    """Frames of sound in order; ``None`` where the stream is starved and the other one should go on.

    Of the frames that come of one packet only the first keeps its timestamp: the others follow without a hole.
    """
    context = stream.codec_context

    def decode(packet: Packet[Stream] | None) -> list[DecodedSound]:
        frames = context.decode(packet)
        if packet is not None:
            for frame in frames[1:]:
                frame.pts = frame.dts = None
        return frames

    return _frames(stream, decode, packets, damage, lambda packet: True)


def _frames(
    stream: Stream,
    decode: Callable[[Packet[Stream] | None], list[FrameT]],
    packets: PacketSource,
    damage: Damage,
    admit: Callable[[Packet[Stream]], bool],
) -> Iterator[FrameT | None]:
    usual_s = _nominal_length_s(stream)
    while (packet := packets.pull(stream.index)) is not Lull.END:
        if packet is Lull.STARVED:
            yield None
            continue
        if not admit(packet):
            continue
        damage.num_packets[stream.type] += 1
        try:
            frames = decode(packet)
        except FFmpegError:
            damage.count_undecoded(stream.type, (packet.duration or 0) * packet.time_base or usual_s)
            continue
        for corrupt in [frame for frame in frames if frame.is_corrupt]:
            usual_s = _length_s(corrupt, usual_s)
            damage.count_patched(stream.type, usual_s)
        yield from frames
    with suppress(FFmpegError):  # the last packets were counted when they went in
        yield from decode(None)


def _nominal_length_s(stream: Stream) -> Fraction:
    """How long a packet is that does not say so."""
    if isinstance(stream, AudioStream):
        return Fraction(stream.codec_context.frame_size or 1024, stream.rate or 48_000)
    rate_hz = stream.average_rate if isinstance(stream, VideoStream) else None
    return 1 / rate_hz if rate_hz else Fraction(1, 25)


def _length_s(frame: DecodedPicture | DecodedSound, usual_s: Fraction) -> Fraction:
    if isinstance(frame, DecodedSound):
        return Fraction(frame.samples, frame.sample_rate)
    return (frame.duration or 0) * (frame.time_base or Fraction(0)) or usual_s


class SoundClock:
    """Start times of frames of sound, in ticks of the stream's time base.

    A frame starts where the samples before it end; a timestamp only corrects that. How long a frame or a packet says
    it is plays no part: decoders that make several frames of a packet write the packet's length on each of them.
    """

    def __init__(self, time_base: Fraction, damage: Damage, *, samples_decide: bool) -> None:
        """Count from the first timestamp on.

        Args:
            time_base: seconds per tick.
            damage: tells whether packets were lost, whose length only timestamps know.
            samples_decide: no timestamp is stored in the container: what the demuxer makes up is believed only at the
                beginning and where packets were lost.
        """
        self._ticks_per_second = 1 / time_base
        self._damage = damage
        self._lost_s = damage.lost_s
        self._samples_decide = samples_decide
        self._stamp: int | None = None
        self._anchor: int | Fraction = 0
        """Where the samples counted in ``_num_samples``, all of one rate, begin."""
        self._num_samples = 0
        self._rate_hz = 0

    def ticks(self, frame: DecodedSound) -> int:
        """When ``frame`` starts; ask once for every frame, in the order of the decoder."""
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp is not None and stamp != self._stamp and self._is_believed(stamp):
            self._stamp, self._anchor, self._num_samples = stamp, stamp, 0
        elif frame.sample_rate != self._rate_hz:
            self._anchor, self._num_samples = self._end(), 0
        start = self._end() if self._num_samples else self._anchor
        self._rate_hz = frame.sample_rate
        self._num_samples += frame.samples
        return round(start)

    def _is_believed(self, stamp: int) -> bool:
        if not self._samples_decide or self._stamp is None:
            return True
        lost_s, self._lost_s = self._damage.lost_s - self._lost_s, self._damage.lost_s
        return lost_s > 0 and 0 <= stamp - self._end() <= (lost_s + _MAX_FRAME_S) * self._ticks_per_second

    def _end(self) -> int | Fraction:
        if not self._num_samples:
            return self._anchor
        return self._anchor + self._num_samples * self._ticks_per_second / self._rate_hz


class PresentationClock:
    """Presentation times of decoded pictures, in ticks of the stream's time base.

    Some containers have no presentation timestamps and FFmpeg's guess of them goes back and forth where pictures are
    reordered. Of the two timestamps of a frame the one that has gone wrong less often is believed; a frame with
    neither follows the one before.
    """

    def __init__(self) -> None:
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faults = 0
        """How much more often presentation timestamps went back than decoding timestamps did."""
        self._next = 0

    def ticks(self, frame: DecodedPicture, usual_ticks: int) -> int:
        """When ``frame`` starts; ask once for every frame, in the order of the decoder.

        Args:
            frame: as decoded.
            usual_ticks: its length, should it not know.
        """
        pts, dts = frame.pts, frame.dts
        if pts is not None:
            self._faults += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        if dts is not None:
            self._faults -= self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        believed = dts if pts is None or (self._faults > 0 and dts is not None) else pts
        start = self._next if believed is None else believed
        self._next = start + (frame.duration or usual_ticks)
        return start
