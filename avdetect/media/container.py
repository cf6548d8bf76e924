"""Opening containers with FFmpeg, and what they say of themselves."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.error import ExitError, FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from avdetect.errors import MediaError, UsageError

__all__ = ["Location", "audio_tracks", "choose_audio", "choose_video", "locate", "open_container"]

STANDARD_INPUT = "-"
NETWORK_TIMEOUT_S = 30.0
"""How long a server may say nothing before it is given up."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FILE_PROTOCOL = "file:"
_TEXT_FORMATS = frozenset({"tty"})
"""FFmpeg draws a text file as moving ANSI art; nobody who passes one means that."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where to read from."""

    name: str
    """As the user wrote it, for messages."""
    url: str
    """As FFmpeg wants it."""
    rereadable: bool
    """Whether it can be opened a second time and read from any place: not so for pipes."""
    timeout_s: float | None


def locate(uri: str | Path) -> Location:
    """Turn a path, a URL or ``-`` (standard input) into a location.

    Raises:
        MediaError: a path that does not name a readable file with something in it.
    """
    name = str(uri)
    if name == STANDARD_INPUT:
        return Location(name, "pipe:0", rereadable=False, timeout_s=None)
    if _URL.match(name):
        return Location(name, name, rereadable=name.lower().startswith("http"), timeout_s=NETWORK_TIMEOUT_S)
    try:
        status = Path(name).stat()
    except FileNotFoundError as error:
        raise MediaError(f"{name}: no such file.") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a null byte in the name
        raise MediaError(f"{name!r}: not a file name: {error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{name}: is a directory, not a media file.")
    regular = stat.S_ISREG(status.st_mode)
    if regular:  # opening a FIFO would wait for its writer, and take what it writes
        _check_readable(name)
        if status.st_size == 0:
            raise MediaError(f"{name}: is empty (0 bytes).")
    # With the protocol spelt out, a colon in the name is no protocol of its own.
    return Location(name, f"{_FILE_PROTOCOL}{name}", rereadable=regular, timeout_s=None)


def _check_readable(name: str) -> None:
    try:
        with Path(name).open("rb"):
            pass
    except PermissionError as error:
        raise MediaError(f"{name}: no permission to read it.") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {error.strerror}.") from error


def open_container(location: Location) -> InputContainer:
    """Open and probe.

    Raises:
        MediaError: FFmpeg cannot open it or does not know the format.
    """
    try:
        container = av.open(
            location.url, mode="r", metadata_errors="replace", timeout=(location.timeout_s, location.timeout_s)
        )
    except ExitError as error:
        raise MediaError(f"{location.name}: no answer within {location.timeout_s:g} s.") from error
    except EOFError as error:
        raise MediaError(f"{location.name}: ends before any media.") from error
    except InterruptedError as error:
        # PyAV can lose the KeyboardInterrupt of a Ctrl-C that ends a system call of FFmpeg's.
        raise KeyboardInterrupt from error
    except (FFmpegError, OSError, ValueError) as error:
        reason = _reason(error) + ("; its index is missing, as if cut off" if _looks_like_mp4(location) else "")
        raise MediaError(f"{location.name}: cannot be opened as media: {reason}.") from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise MediaError(f"{location.name}: is text, not media.")
    return container


def choose_video(container: InputContainer) -> VideoStream | None:
    """The video stream a player would show; cover art is not video."""
    candidates = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
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
    if not location.url.startswith(_FILE_PROTOCOL) or not location.rereadable:
        return False
    with Path(location.name).open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).rstrip(".")
