"""Clips: each event with some margin, cut out of its file without encoding anything again.

Packets are copied from the last keyframe at or before the wanted start. In MP4 an edit list hides what lies before
that start, so a player decodes from the keyframe and shows the clip from its first wanted picture, however far back
the keyframe is. Codecs that MP4 does not carry go to Matroska, which cannot hide anything: there the clip begins at
the keyframe. Copying keeps the quality, costs next to no time, and needs no encoder for what was decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from avdetect.errors import MediaError
from avdetect.events.event import Event
from avdetect.files import kind_of, make_folder, replacing
from avdetect.timebase import Span, as_seconds

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoStream
    from av.container import InputContainer

    MediaStream: TypeAlias = VideoStream | AudioStream
    TimedPacket: TypeAlias = tuple[Fraction, Packet[MediaStream]]
    """A packet with its decoding time, in seconds on the container's clock."""


_MP4_CODECS = frozenset(
    {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"}
    | {"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"}
)
"""FFmpeg's names of the codecs that players expect in MP4."""
_WAV_CODECS = (["pcm_s16le"], ["pcm_s24le"], ["pcm_f32le"], ["pcm_mulaw"], ["pcm_alaw"], ["pcm_u8"])
_CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".wav": "wav"}
"""FFmpeg's names of the formats."""
_AUDIO_PREROLL = Fraction(1, 10)
"""Seconds of sound copied, and hidden, before the start: decoders need a frame or two to settle."""
_INTERLEAVING = Fraction(1)
"""Seconds by which a file may store the packets of one stream away from those of another for the same moment."""
_WITHOUT_INDEX = frozenset({"mpegts", "mpeg"})
"""Formats in which FFmpeg finds a time by bisection."""
_TICKS_PER_SECOND = 1_000_000
"""Ticks per second of the container's own times."""
_MAX_NAME_BYTES = 200
"""Longest name of a clip without its extension; file systems end at 255 and the temporary name is longer."""


def cut_clips(
    source: Path | str,
    events: Sequence[Event],
    directory: Path | str,
    *,
    margin_s: float = 1.0,
    origin_s: float = 0.0,
    stem: str | None = None,
) -> list[Path]:
    """Copy each event, with ``margin_s`` on either side, to a file of its own in ``directory``.

    Args:
        source: A seekable file.
        events: Their times are seconds from the grid's origin. Overlapping events are a clip each.
        directory: Made if missing; clips of an earlier run are replaced.
        margin_s: Cut short where the source begins or ends.
        origin_s: ``MediaInfo.origin_s``, the grid's origin on the container's own clock.
        stem: First part of the names, the source's own without it; sources of equal names need different ones.

    Returns:
        The clips, in the order of ``events``: ``STEM_00h00m12.480s_gunshot.mp4``, named by the event's start.

    Raises:
        MediaError: ``source`` cannot be opened, sought or copied, or has nothing where an event is.
        OutputError: ``directory`` or a clip cannot be written.
    """
    import av

    source, directory = Path(source), Path(directory)
    if not events:
        return []
    if kind_of(source) != "file":
        raise MediaError(f"{source} is missing or no regular file: clips can only be cut from a saved file.")
    make_folder(directory)
    names = _names(events, source.stem if stem is None else stem)
    clips = []
    try:
        # genpts: AVI and raw streams leave out presentation times, which no muxer can do without.
        with av.open(f"file:{source}", options={"fflags": "+genpts"}) as container:
            streams = _streams(container, source)
            as_mp4 = all(stream.codec_context.codec.canonical_name in _MP4_CODECS for stream in streams)
            for event, name in zip(events, names, strict=True):
                start = as_seconds(origin_s) + max(Fraction(0), as_seconds(event.start_s) - as_seconds(margin_s))
                end = as_seconds(origin_s) + as_seconds(event.end_s) + as_seconds(margin_s)
                clip = directory / f"{name}{'.mp4' if as_mp4 else '.mkv'}"
                with replacing(clip) as temporary:
                    _cut(container, streams, start, end, temporary, as_mp4=as_mp4)
                clips.append(clip)
    except av.FFmpegError as error:
        raise MediaError(f"cannot cut clips from {source}: {error.strerror or error}.") from error
    except _NothingToCopyError as error:
        raise MediaError(f"cannot cut clips from {source}: {error}.") from error
    return clips


def write_clip(packets: Iterable[Packet[MediaStream]], streams: Sequence[MediaStream], span: Span, path: Path) -> Path:
    """Copy what of ``packets`` lies in ``span`` to a file, as :func:`cut_clips` does.

    Args:
        packets: In order of decoding, from a keyframe of the first stream on. Their timestamps are changed.
        streams: Theirs; pictures first, if there are any.
        span: On the packets' own clock.
        path: Of the file, without an extension, which follows from the codecs.

    Returns:
        The file: ``.mp4``, or ``.mkv`` or ``.wav`` where MP4 does not carry the codecs.

    Raises:
        MediaError: the packets cannot be copied, or there is nothing in ``span``.
        OutputError: the file cannot be written.
    """
    import av

    names = [stream.codec_context.codec.canonical_name for stream in streams]
    suffix = ".mp4" if _MP4_CODECS.issuperset(names) else ".wav" if names in _WAV_CODECS else ".mkv"
    clip = path.with_name(f"{path.name}{suffix}")
    timed = _timed(packets)
    start, end = as_seconds(span.start_s), as_seconds(span.end_s)
    try:
        with replacing(clip) as temporary:
            held = _held_at(start, timed, streams[0])
            _cut_packets(held, timed, streams, start, end, temporary, _CONTAINERS[suffix])
    except av.FFmpegError as error:
        raise MediaError(f"cannot cut {clip}: {error.strerror or error}.") from error
    except _NothingToCopyError as error:
        raise MediaError(f"cannot cut {clip}: {error}.") from error
    return clip


class _NothingToCopyError(Exception):
    """Why, as the end of a sentence."""


def _names(events: Sequence[Event], stem: str) -> list[str]:
    """A distinct name for each event, in the order of time when sorted, safe on any file system."""
    names: list[str] = []
    taken: set[str] = set()  # case-folded: some file systems do not tell "A" from "a"
    for event in events:
        minutes, milliseconds = divmod(round(event.start_s * 1000), 60_000)
        when = f"{minutes // 60:02d}h{minutes % 60:02d}m{milliseconds / 1000:06.3f}s"
        tail = f"_{when}_{_safe(event.class_name)}"
        room = max(0, _MAX_NAME_BYTES - len(tail.encode()))
        first_choice = name = _safe(stem).encode()[:room].decode("utf-8", "ignore") + tail
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{first_choice}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _safe(text: str) -> str:
    """Letters and digits of any script, ``-``, ``.`` and ``_``; a run of anything else becomes one ``-``."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "clip"


def _streams(container: InputContainer, source: Path) -> list[MediaStream]:
    """The first film (a cover picture is none), if any, and then every audio track."""
    import av

    films = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    streams: list[MediaStream] = [*films[:1], *container.streams.audio]
    if not streams:
        raise MediaError(f"{source} has neither picture nor sound to cut clips from.")
    return streams


def _cut(
    container: InputContainer,
    streams: Sequence[MediaStream],
    start: Fraction,
    end: Fraction,
    target: Path,
    *,
    as_mp4: bool,
) -> None:
    """Copy ``[start, end)`` of the container's clock to ``target``."""
    held, rest = _from_keyframe(container, streams, start)
    if container.duration and start >= _start_of(container) + _seconds(container.duration):
        raise _NothingToCopyError(f"nothing was found at {float(start):.3f} s on its clock")
    _cut_packets(held, rest, streams, start, end, target, "mp4" if as_mp4 else "matroska")


def _cut_packets(
    held: Sequence[TimedPacket],
    rest: Iterable[TimedPacket],
    streams: Sequence[MediaStream],
    start: Fraction,
    end: Fraction,
    target: Path,
    container_format: str,
) -> None:
    """Copy ``[start, end)`` of ``held``, from the last keyframe at or before ``start`` on, and what follows it."""
    first = streams[0]
    keyframe = next((time for time, packet in held if packet.stream is first and packet.is_keyframe), None)
    if keyframe is None:
        raise _NothingToCopyError(f"nothing was found at {float(start):.3f} s on its clock")
    zero = start
    hides = container_format == "mp4"
    if first.type == "video":
        # The clip starts with the picture then on screen: players disagree on one that an edit list cuts in two.
        shown = [_shown(packet) for _, packet in held if packet.stream is first]
        zero = max((time for time in shown if time <= start), default=keyframe)
    sound_from = keyframe if first.type == "video" and not hides else zero - (_AUDIO_PREROLL if hides else 0)
    packets = (
        packet
        for time, packet in _until(end + _INTERLEAVING, chain(held, rest), first)
        if (keyframe if packet.stream.type == "video" else sound_from) <= time < end
    )
    _copy(packets, streams, zero, target, container_format)


def _until(end: Fraction, packets: Iterable[TimedPacket], first: MediaStream) -> Iterator[TimedPacket]:
    """``packets`` up to the first of the stream ``first`` at or after ``end``."""
    return takewhile(lambda item: item[1].stream is not first or item[0] < end, packets)


def _from_keyframe(
    container: InputContainer, streams: Sequence[MediaStream], start: Fraction
) -> tuple[list[TimedPacket], Iterator[TimedPacket]]:
    """The packets from the last keyframe at or before ``start`` on, up to ``start``, and those that follow.

    Where the first stream has no keyframe before ``start``, the first one after it.
    """
    before_all = _start_of(container)
    if container.format.name in _WITHOUT_INDEX:
        before_all -= _INTERLEAVING  # sought at their very start, these begin after the keyframe
    back = _INTERLEAVING
    while True:
        is_whole = start - back <= before_all
        container.seek(int(max(start - back, before_all) * _TICKS_PER_SECOND))
        packets = _timed(cast("Iterator[Packet[MediaStream]]", container.demux(list(streams))))
        held = _held_at(start, packets, streams[0])
        if is_whole or any(_is_entry(packet, streams[0], start) for _, packet in held):
            return held, packets
        back *= 2  # the keyframe lies further back than the container's index said


def _seconds(ticks: int) -> Fraction:
    return Fraction(ticks, _TICKS_PER_SECOND)


def _start_of(container: InputContainer) -> Fraction:
    return _seconds(container.start_time or 0)


def _shown(packet: Packet[MediaStream]) -> Fraction:
    """Presentation time in seconds, the decoding time where it is unknown."""
    stamp = packet.dts if packet.pts is None else packet.pts
    if stamp is None or packet.time_base is None:
        raise _NothingToCopyError("its packets carry no timestamps")
    return stamp * packet.time_base


def _is_entry(packet: Packet[MediaStream], first: MediaStream, start: Fraction) -> bool:
    """Tell whether a decoder that begins with ``packet`` has the picture, or in sound the sample, at ``start``."""
    return packet.stream is first and packet.is_keyframe and _shown(packet) <= start


def _held_at(start: Fraction, packets: Iterator[TimedPacket], first: MediaStream) -> list[TimedPacket]:
    """Take packets until ``first`` has passed ``start`` with a keyframe in hand; the pictures before the last entry go.

    What is left in ``packets`` follows on.
    """
    held: list[TimedPacket] = []
    has_keyframe = False
    for time, packet in packets:
        if first.type == "video" and _is_entry(packet, first, start):
            held = [item for item in held if item[1].stream is not first]
        held.append((time, packet))
        if packet.stream is first:
            has_keyframe = has_keyframe or packet.is_keyframe
            if has_keyframe and time > start:
                break
    return held


def _timed(packets: Iterable[Packet[MediaStream]]) -> Iterator[TimedPacket]:
    """Each packet with its decoding time in seconds; what has neither time nor content ends the file."""
    for packet in packets:
        if packet.dts is not None and packet.time_base is not None:
            yield packet.dts * packet.time_base, packet
        elif packet.size:
            yield _shown(packet), packet


def _copy(
    packets: Iterable[Packet[MediaStream]],
    streams: Sequence[MediaStream],
    start: Fraction,
    target: Path,
    container_format: str,
) -> None:
    """Write ``packets`` to ``target`` with ``start`` as its time 0; what is earlier gets negative times.

    Where a source begins again, a stream may overlap its own end a little. No container takes that, so what comes too
    early is moved to just after what came before it. Damaged packets that the container does not take are left out.
    """
    import av

    next_dts: dict[int, int] = {}
    with av.open(f"file:{target}", "w", format=container_format) as output:
        copies = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in streams}
        for packet in packets:
            index, shift = packet.stream.index, round(start / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            if packet.dts is not None:
                if packet.dts < next_dts.get(index, packet.dts):
                    packet.dts = next_dts[index]
                    packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
                next_dts[index] = packet.dts + 1
            packet.stream = copies[index]
            with suppress(av.error.InvalidDataError, av.error.ArgumentError):
                output.mux(packet)
    if target.stat().st_size == 0:
        raise _NothingToCopyError(f"nothing was found at {float(start):.3f} s on its clock")
