"""A live source: connected to once, and read for as long as its media have no gap.

Two threads, so that the network never waits for the decoder:

    LiveReader              demuxes, repairs the clock, keeps a ring for clips      (a thread of its own)
    LiveSource.packets      decodes what has come in; all leaves as soon as it can  (the caller's thread)
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isfinite

from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags
from av.container.input import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from avdetect.media.audio import AudioTrack
from avdetect.media.container import choose_audio, choose_video, describe
from avdetect.media.demux import Lull
from avdetect.media.live_buffer import PacketRing, Received
from avdetect.media.live_input import ConnectError, open_input
from avdetect.media.live_options import LiveOptions
from avdetect.media.live_reader import LiveReader, StreamEnd
from avdetect.media.losses import Damage
from avdetect.media.packets import AudioChunk, MediaInfo, StreamPlan, VideoFrame
from avdetect.media.planes import PictureMaker
from avdetect.media.source import Closing
from avdetect.media.video import VideoTrack
from avdetect.timebase import Span

__all__ = ["LiveSource", "StreamEnd"]

_BLOCKS_PER_HOP = 4
"""Sound that stops coming leaves no more than this part of a hop unheard."""
_SETTLE_S = 0.5
"""For how long to wait for the first packet that does not come from a buffer: it knows what time it is."""
_KEYFRAME_WITHIN_S = 10.0
"""Pictures without a key frame for so long may never have one: then decoding begins anywhere."""
_UNDECODED_PACKETS = 50
_UNDECODED_S = 3.0
"""So many packets in a row, for so long, that nothing comes of, and a stream is taken for one of another codec."""
_GRACE_S = 3.0
"""By how much FFmpeg may overstay the time given to it before it is taken to hang."""
_POLL_S = 0.25
_KERNELS = "avdetect.media.kernels"


class _Inbox:
    """Packets that have come in, stream by stream; nobody waits here."""

    def __init__(self, indices: Iterable[int]) -> None:
        self._queues: dict[int, deque[Packet[Stream]]] = {index: deque() for index in indices}
        self.ended = False

    def put(self, packet: Packet[Stream]) -> None:
        self._queues[packet.stream_index].append(packet)

    def pull(self, index: int) -> Packet[Stream] | Lull:
        """See :class:`avdetect.media.demux.PacketSource`."""
        queue = self._queues[index]
        if queue:
            return queue.popleft()
        return Lull.END if self.ended else Lull.STARVED


@dataclass(slots=True, eq=False)
class _Member:
    """One of the streams."""

    track: VideoTrack | AudioTrack
    awaits_keyframe_until_s: float
    """By the monotonic clock; what comes before the first key frame cannot be decoded."""
    start: Fraction | None = None
    """When its first picture or sound is, on the container's clock."""
    items: Iterator[VideoFrame | AudioChunk | None] | None = None
    """What it gives, once it has begun and the grid is known."""
    last_item_s: float = inf
    """When it gave something, by the monotonic clock."""
    num_since_item: int = 0
    """Packets since then."""


class LiveSource(Closing):
    """One connection to a live source; a context manager.

    Its grid begins with its first picture or sound. A stream that stops is not waited for; it may come back.
    """

    def __init__(self, url: str, plan: StreamPlan, options: LiveOptions) -> None:
        """Connect, and read up to the first picture and sound.

        Args:
            url: of the source; a path, ``-`` for standard input, or whatever ``options.input_format`` understands.
            plan: what the snippet grid needs.
            options: how to reach it.

        Raises:
            ConnectError: it cannot be reached, or does not send media.
            MediaError: it names a file that cannot be read.
            UsageError: there is no such sound track.
        """
        self.end: StreamEnd | None = None
        """Why it ended, once ``packets`` has."""
        self.hangs = False
        """Whether FFmpeg did not come back from reading: only the end of the process gets rid of it."""
        self._plan = plan
        self._options = options
        self._damage = Damage()
        self._received_at_s = 0.0
        self._size: tuple[int, int] | None = None
        source = open_input(url, options)
        self._name = source.name
        self.is_file = source.is_file
        """Whether it is a file, which would begin anew if it were opened again."""
        self.ends = source.ends
        """Whether it stays ended once it has come to its end."""
        try:
            streams = self._choose(source.container)
            self._inbox = _Inbox(stream.index for stream in streams)
            self._members = {stream.index: self._member(stream) for stream in streams}
            self._reader = LiveReader(
                source, streams, options, self._damage, reopen=lambda: open_input(url, options).container
            )
        except BaseException:
            source.close()
            raise
        try:
            self._origin = self._start()
            self.info = self._describe(source.container)
            self.origin_unix_s = self._settle()
            """Wall-clock time of the grid's origin."""
        except BaseException:
            self.close()
            raise

    @property
    def ring(self) -> PacketRing:
        """The last that came in, for clips; its times are on the container's clock, see ``MediaInfo.origin_s``."""
        return self._reader.ring

    @property
    def received_unix_s(self) -> float:
        """When the packet came in that the latest item had to wait for."""
        return time.time() - (time.monotonic() - self._received_at_s)

    @property
    def damage(self) -> Damage:
        """What could not be read or decoded so far."""
        return self._damage

    def dropped_s(self, span: Span) -> float:
        """How much of ``span`` was not decoded because the machine did not keep up."""
        origin_s = self.info.origin_s
        return sum(
            max(0.0, min(end_s - origin_s, span.end_s) - max(begin_s - origin_s, span.start_s))
            for begin_s, end_s in self._reader.queue.dropped
        )

    def packets(self) -> Iterator[VideoFrame | AudioChunk]:
        """Pictures and sound, each in order of time, until ``end``."""
        for member in self._members.values():
            yield from self._items(member)
        while self.end is None:
            received = self._reader.queue.get(_POLL_S)
            if received is not None:
                yield from self._take(received)
            elif self._reader.queue.is_exhausted:
                self.end = self._reader.end or StreamEnd("stopped", f"{self._name}: was stopped.")
            elif time.monotonic() - self._received_at_s > self._options.stall_timeout_s + _GRACE_S:
                self.hangs = True
                self.end = StreamEnd("stalled", f"{self._name}: reading it hangs.")
        self._inbox.ended = True
        for member in self._members.values():
            yield from self._items(member)

    def stop(self) -> None:
        """Let ``packets`` end with what has come in; for other threads."""
        self._reader.queue.close()

    def close(self) -> None:
        """Let go of the connection; may be called twice."""
        self._reader.close()

    def _choose(self, container: InputContainer) -> list[VideoStream | AudioStream]:
        """The streams to read, pictures first."""
        plan = self._plan
        sees, hears = (
            plan.want_video and self._options.use != "audio",
            plan.want_audio and self._options.use != "video",
        )
        video = choose_video(container) if sees else None
        audio = choose_audio(container, self._options.audio_track, self._name) if hears else None
        streams = [stream for stream in (video, audio) if stream is not None and stream.codec_context is not None]
        if not streams:
            lacks = "neither picture nor sound" if sees and hears else "no picture" if sees else "no sound"
            raise ConnectError(f"{self._name}: holds {lacks} that can be decoded.", "no-media")
        return streams

    def _member(self, stream: VideoStream | AudioStream) -> _Member:
        plan, now_s = self._plan, time.monotonic()
        if isinstance(stream, AudioStream):
            block_s = plan.hop / _BLOCKS_PER_HOP
            return _Member(AudioTrack(stream, self._inbox, self._damage, plan.rate_hz, block_s=block_s), now_s)
        context = stream.codec_context
        context.thread_type = "SLICE"  # threads that take a picture each hand it out later by as many pictures
        context.thread_count = self._options.decoder_threads
        if self._options.low_latency:
            context.flags |= CodecFlags.low_delay
        # Where a fork server has loaded the kernel its children share it; one for each would cost too much memory.
        pictures = PictureMaker(plan.luma_size, plan.rgb_size, compiled=_KERNELS in sys.modules)
        return _Member(VideoTrack(stream, self._inbox, self._damage, plan, pictures), now_s + _KEYFRAME_WITHIN_S)

    def _start(self) -> Fraction:
        """Read until every stream has begun, or the others have gone on without it; when the first one began.

        Raises:
            ConnectError: nothing of it can be decoded.
        """
        members = self._members.values()
        deadline_s = time.monotonic() + self._options.stall_timeout_s + _KEYFRAME_WITHIN_S
        while any(member.start is None for member in members):
            received = self._reader.queue.get(_POLL_S)
            starts = [member.start for member in members if member.start is not None]
            if received is not None:
                self._received_at_s = received.at_s
                self._admit(received)
                if starts and received.time_s - float(min(starts)) >= self._options.max_skew_s:
                    return min(starts)
            elif self._reader.queue.is_exhausted:
                self._inbox.ended = True
            for member in members:
                if member.start is None:
                    member.start = member.track.start()
            if self._inbox.ended or (not starts and time.monotonic() > deadline_s):
                break
        starts = [member.start for member in members if member.start is not None]
        if not starts:
            end = self._reader.end
            reason = "undecodable" if end is None or end.reason == "ended" else end.reason
            raise ConnectError(f"{self._name}: nothing that it sends can be decoded.", reason)
        return min(starts)

    def _settle(self) -> float:
        """When the grid's origin was, by the wall clock."""
        if self._reader.is_live:
            self._reader.caught_up.wait(_SETTLE_S)
        offset_s = self._reader.wall_clock.fix()
        if not isfinite(offset_s):  # no packet has a time
            return time.time()
        return time.time() - time.monotonic() + offset_s + float(self._origin)

    def _describe(self, container: InputContainer) -> MediaInfo:
        tracks = [member.track for member in self._members.values()]
        return describe(
            container,
            uri=self._name,
            origin=self._origin,
            duration_s=None,
            video=next((track for track in tracks if isinstance(track, VideoTrack)), None),
            audio=next((track for track in tracks if isinstance(track, AudioTrack)), None),
        )

    def _take(self, received: Received) -> Iterator[VideoFrame | AudioChunk]:
        """Decode a packet; what follows from it."""
        self._received_at_s = received.at_s
        member = self._admit(received)
        if member is None:
            return
        for item in self._items(member):
            member.last_item_s = received.at_s
            member.num_since_item = 0
            yield item
        member.num_since_item += 1
        self.end = self._change(member, received)

    def _admit(self, received: Received) -> _Member | None:
        """Put a packet where its stream finds it, unless it comes before the first key frame."""
        member = self._members[received.packet.stream_index]
        if member.awaits_keyframe_until_s > received.at_s:
            if not received.packet.is_keyframe:
                return None
            member.awaits_keyframe_until_s = 0.0
        self._inbox.put(received.packet)
        return member

    def _items(self, member: _Member) -> Iterator[VideoFrame | AudioChunk]:
        """What the packets of a stream that have come in give."""
        if member.items is None:
            if member.start is None:
                member.start = member.track.start()
            if member.start is None:
                return
            if isinstance(member.track, VideoTrack):
                member.track.lay(self._origin)
                member.items = member.track.frames(Fraction(0), None)
            else:
                member.items = member.track.chunks(self._origin, Fraction(0), None)
        for item in member.items:
            if item is None:
                return
            yield item

    def _change(self, member: _Member, received: Received) -> StreamEnd | None:
        """Whether a stream has become another one."""
        stream = member.track.stream
        if isinstance(stream, VideoStream) and received.packet.is_keyframe:
            size = stream.codec_context.width, stream.codec_context.height
            if self._size not in (None, size) and not self.is_file:
                member.items = iter(())  # it holds a picture of the new size already
                was, now = ("x".join(map(str, pair)) for pair in (self._size or (), size))
                return StreamEnd("format-change", f"{self._name}: its pictures changed from {was} to {now}.")
            if member.start is not None:
                self._size = size
        if (
            member.start is not None
            and not self.is_file
            and member.num_since_item > _UNDECODED_PACKETS
            and received.at_s - member.last_item_s > min(_UNDECODED_S, self._options.stall_timeout_s)
        ):
            return StreamEnd("format-change", f"{self._name}: its {stream.type} can be decoded no longer.")
        return None
