"""Opens containers with FFmpeg, chooses their streams and describes what they hold."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import IO, cast

import av
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.container.output import OutputContainer
from av.error import ExitError, FFmpegError
from av.format import Flags as FormatFlags
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from avdetect.errors import MediaError, UsageError
from avdetect.media.audio import AudioTrack
from avdetect.media.location import FILE_PROTOCOL, Location, is_url
from avdetect.media.packets import MediaInfo
from avdetect.media.pipe import FifoPipe, StalledError
from avdetect.media.video import VideoTrack

__all__ = [
    "audio_tracks",
    "choose_audio",
    "choose_video",
    "describe",
    "num_streams",
    "open_container",
    "samples_decide",
    "with_late_streams",
]

FIFO_TIMEOUT_S = 30.0
"""How long a named pipe may be without a writer, or its writer without anything to write, at the beginning."""
_TEXT_FORMATS = frozenset({"tty"})
"""FFmpeg draws a text file as moving ANSI art; nobody who passes one means that."""
_WITHOUT_STREAM_LIST = frozenset({"mpegts", "mpeg", "flv"})
_BOTH = {"video", "audio"}
MAX_PROBE_BYTES = 256 << 20
_LOOKED_AT_BYTES = 8 << 20
"""More than FFmpeg reads of a file to find its streams."""
_PROBE_S = 24 * 3600
_FROM_BEGINNING_TO_END = {"live_start_index": "0"}
"""Of HLS playlists without an end mark, which FFmpeg takes for live: it would begin near their end. One that has not
grown when it is read again has ended."""
_NO_TIMESTAMPS = cast(int, FormatFlags.no_timestamps.value)
_GENERIC_INDEX = cast(int, FormatFlags.generic_index.value)
_TS_DISCONT = cast(int, FormatFlags.ts_discont.value)
# fmt: off
_UNTIMED_SOUND = frozenset((
    "aiff", "alp", "ape", "apm", "argo_asf", "au", "avi", "caf", "daud", "g726", "g726le", "kvag", "mpc", "mpc8", "qcp",
    "rso", "sox", "tta", "voc", "wsaud", "xwma",
))
# fmt: on
"""Formats without timestamps that FFmpeg's flags do not mark as such."""


def open_container(location: Location) -> InputContainer:
    """Open and probe.

    Raises:
        MediaError: FFmpeg cannot open it or does not know the format.
    """
    try:
        pipe = FifoPipe(location.name, FIFO_TIMEOUT_S) if location.is_fifo else None
        container = av.open(
            pipe or location.url,
            mode="r",
            metadata_errors="replace",
            timeout=(location.timeout_s, location.timeout_s),
            options=_probing(location)
            | _FROM_BEGINNING_TO_END
            | {"m3u8_hold_counters": "10" if is_url(location.url) else "2"},
        )
        if pipe is not None:
            pipe.timeout_s = inf
    except StalledError as error:
        raise MediaError(f"{location.name}: nothing was written to it for {FIFO_TIMEOUT_S:g} s.") from error
    except ExitError as error:
        raise MediaError(f"{location.name}: no answer within {location.timeout_s:g} s.") from error
    except EOFError as error:
        raise MediaError(f"{location.name}: ends before any media.") from error
    except InterruptedError as error:
        # PyAV can lose the KeyboardInterrupt of a Ctrl-C that ends a system call of FFmpeg's.
        raise KeyboardInterrupt from error
    except (FFmpegError, OSError, ValueError) as error:
        reason = _reason(error) + ("; its index is missing, as if cut off" if _looks_like_mp4(location) else "")
        if _is_encrypted_playlist(location):
            reason += "; its segments are encrypted, and there is no key"
        raise MediaError(f"{location.name}: cannot be opened as media: {reason}.") from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise MediaError(f"{location.name}: is text, not media.")
    return container


def with_late_streams(container: InputContainer, location: Location) -> tuple[InputContainer, Location]:
    """Open a file again, reading further ahead, where only its later part has sound or pictures.

    MPEG streams and FLV have no list of their streams: FFmpeg knows of those in the first megabytes. Also gives the
    location to open it by from here on.
    """
    is_file = location.rereadable and location.url.startswith(FILE_PROTOCOL)
    if not is_file or container.format.name not in _WITHOUT_STREAM_LIST or _kinds(container) == _BOTH:
        return container, location
    size = Path(location.name).stat().st_size
    known = _kinds(container)
    for eighth in range(1, 8) if container.format.name != "flv" else (8,):
        if eighth < 8 and not _kinds_at(location, size * eighth // 8, container.format.name) - known:
            continue
        further = replace(location, probe_bytes=min(MAX_PROBE_BYTES, size, size * eighth // 8 + _LOOKED_AT_BYTES))
        container.close()
        return open_container(further), further
    return container, location


def num_streams(container: InputContainer) -> int:
    """How many streams FFmpeg has found so far; PyAV knows of those alone that it saw when it opened the container.

    Asked for streams that do not exist, PyAV names the first of them, and reads nothing.
    """
    with av.open(os.devnull, "w", format="null") as fake:
        known = len(container.streams)
        others = [fake.add_stream("pcm_s16le") for _ in range(known + 2)]
        try:
            next(container.demux([others[known], others[known + 1]]), None)
        except ValueError as error:
            return known + (f"index {known + 1} " in str(error))
    return known + 2


def _kinds(container: InputContainer | OutputContainer) -> set[str]:
    return {s.type for s in container.streams if s.type in _BOTH and not is_cover(s)}


def _kinds_at(location: Location, offset: int, format_name: str) -> set[str]:
    """Which kinds of streams there are from ``offset`` bytes on."""
    with Path(location.name).open("rb") as file:
        file.seek(offset)
        try:
            with av.open(_Forward(file), format=format_name, metadata_errors="replace") as container:
                return _kinds(container)
        except (FFmpegError, ValueError):
            return set()


class _Forward:
    """A file from where it is on: FFmpeg must not seek to what lies before."""

    name = "file"

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)


def _probing(location: Location) -> dict[str, str]:
    if location.probe_bytes is None:
        return {}
    return {"probesize": str(location.probe_bytes), "analyzeduration": str(_PROBE_S * 1_000_000)}


def samples_decide(container: InputContainer) -> bool:
    """Whether the format stores no timestamps of its sound: those that FFmpeg makes up may be wrong.

    WAV's and AVI's are guesses by the number of bytes; those of FLAC follow block numbers, which old encoders miscount.
    """
    names, flags = container.format.name.split(","), container.format.flags
    if not _UNTIMED_SOUND.isdisjoint(names):
        return True
    is_bare = flags & (_NO_TIMESTAMPS | _GENERIC_INDEX) and not flags & _TS_DISCONT
    return bool(is_bare) and [s.type for s in container.streams if not is_cover(s)] == ["audio"]


def is_cover(stream: Stream) -> bool:
    """Whether the stream is a picture of the cover, and no film."""
    return bool(stream.disposition & Disposition.attached_pic)


def choose_video(container: InputContainer) -> VideoStream | None:
    """The video stream a player would show; cover art is not video."""
    candidates = [s for s in container.streams.video if not is_cover(s)]
    best = container.streams.best("video")
    return next((s for s in candidates if s is best), candidates[0] if candidates else None)


def choose_audio(container: InputContainer, track: int | None, name: str) -> AudioStream | None:
    """The audio stream a player would play, or the ``track``-th, counted from 0.

    Raises:
        UsageError: there is no such track.
    """
    streams = container.streams.audio
    if track is None:
        best = container.streams.best("audio")
        return next((s for s in streams if s is best), streams[0] if streams else None)
    if 0 <= track < len(streams):
        return streams[track]
    listed = "; ".join(f"{i}: {text}" for i, text in enumerate(audio_tracks(container))) or "none"
    raise UsageError(f"{name}: has no audio track {track}; its audio tracks are {listed}.")


def audio_tracks(container: InputContainer) -> tuple[str, ...]:
    """One description per audio track, such as ``aac, 48000 Hz, stereo, eng``."""
    return tuple(_describe(stream) for stream in container.streams.audio)


def _describe(stream: AudioStream) -> str:
    if stream.codec_context is None:
        return "unknown codec"
    parts = [stream.codec_context.name, f"{stream.rate} Hz", stream.layout.name]
    parts += [part for part in (stream.language, stream.metadata.get("title")) if part]
    return ", ".join(parts)


def _looks_like_mp4(location: Location) -> bool:
    """An MP4 that cannot be opened lacks its index as a rule: the recording ended before it was written."""
    if not location.url.startswith(FILE_PROTOCOL) or not location.rereadable:
        return False
    with Path(location.name).open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _is_encrypted_playlist(location: Location) -> bool:
    if not location.url.startswith(FILE_PROTOCOL) or not location.rereadable:
        return False
    with Path(location.name).open("rb") as file:
        head = file.read(1 << 16)
    return head.startswith(b"#EXTM3U") and b"#EXT-X-KEY:METHOD=" in head.replace(b"METHOD=NONE", b"")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).rstrip(".")


def describe(
    container: InputContainer,
    *,
    uri: str,
    origin: Fraction,
    duration_s: float | None,
    video: VideoTrack | None,
    audio: AudioTrack | None,
) -> MediaInfo:
    """What is known once the tracks have started.

    Args:
        container: open.
        uri: as users may see it.
        origin: of the grid, seconds on the container's clock.
        duration_s: from the origin, where it is declared.
        video: the pictures that are looked at.
        audio: the sound that is heard.
    """
    info = MediaInfo(
        uri=uri,
        format=container.format.name,
        duration_s=duration_s,
        origin_s=float(origin),
        audio_tracks=audio_tracks(container),
    )
    if video is not None:
        context = video.stream.codec_context
        turned = video.orientation.is_transposed
        rate_hz = video.stream.average_rate or video.stream.guessed_rate
        info = replace(
            info,
            video_codec=context.name,
            width=context.height if turned else context.width,
            height=context.width if turned else context.height,
            frame_rate_hz=float(rate_hz) if rate_hz else None,
            pixel_format=context.pix_fmt or "",
            rotation=video.orientation.rotation,
            mirrored=video.orientation.mirrored,
        )
    if audio is not None:
        context_of_audio = audio.stream.codec_context
        info = replace(
            info,
            audio_codec=context_of_audio.name,
            audio_rate_hz=context_of_audio.rate,
            audio_channels=context_of_audio.layout.nb_channels,
        )
    return info
