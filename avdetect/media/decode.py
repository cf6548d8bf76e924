"""Packets of one stream to decoded frames with the best timestamps to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
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

__all__ = ["PresentationClock", "decoded_pictures", "decoded_sound"]

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
    """Frames of sound in order; ``None`` where the stream is starved and the other one should go on."""
    return _frames(stream, stream.codec_context.decode, packets, damage, lambda packet: True)


def _frames(
    stream: Stream,
    decode: Callable[[Packet[Stream] | None], list[FrameT]],
    packets: PacketSource,
    damage: Damage,
    admit: Callable[[Packet[Stream]], bool],
) -> Iterator[FrameT | None]:
    while (packet := packets.pull(stream.index)) is not Lull.END:
        if packet is Lull.STARVED:
            yield None
            continue
        if not admit(packet):
            continue
        try:
            frames = decode(packet)
        except FFmpegError:
            damage.count_undecoded(stream.type, (packet.duration or 0) * packet.time_base)
            continue
        damage.num_patched[stream.type] += sum(frame.is_corrupt for frame in frames)
        yield from frames
    with suppress(FFmpegError):  # the last packets were counted when they went in
        yield from decode(None)


class PresentationClock:
    """Presentation times of decoded frames, in ticks of the stream's time base.

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

    def ticks(self, frame: DecodedPicture | DecodedSound, usual_ticks: int) -> int:
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
