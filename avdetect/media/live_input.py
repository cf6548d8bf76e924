"""Opening live sources with FFmpeg: what each kind needs, and why it did not work, without credentials."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import cast

import av
from av import error as av_error
from av.container.input import InputContainer
from av.format import Flags as FormatFlags

from avdetect.errors import MediaError
from avdetect.media.live_options import LiveOptions
from avdetect.media.location import STANDARD_INPUT, ends_by_itself, locate, names_file
from avdetect.media.pipe import Pipe, ProgramPipe, StalledError, ffmpeg_program
from avdetect.redaction import redacted

__all__ = ["ConnectError", "LiveInput", "failure", "open_input"]

_STANDARD_INPUT_FD = 0
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_ANALYSE_S = 3
"""How long FFmpeg may look for the parameters of streams that the source announces but does not send."""
_SOCKET_BUFFER_BYTES = 1 << 20
_UDP_QUEUE_PACKETS = 28 * 1024
"""Of 188 bytes: about two seconds at 20 Mbit/s."""


class ConnectError(MediaError):
    """A live source cannot be reached or read."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        """Stable, for programs, as in ``FeedGap.reason``."""


@dataclass(frozen=True, slots=True)
class LiveInput:
    """An open source."""

    container: InputContainer
    name: str
    """For people, without credentials."""
    pipe: Pipe | None
    """What FFmpeg reads through, where it does not read for itself."""
    is_file: bool
    """Whether it is a file, which can be read again."""
    is_patient: bool
    """Whether it loses nothing when it is not read: standard input, and a file that is not played at its own speed."""
    ends: bool
    """Whether it stays ended once it has ended."""

    def close(self) -> None:
        """Close it; nobody may be reading it."""
        self.container.close()
        if self.pipe is not None:
            self.pipe.close()


def open_input(url: str, options: LiveOptions) -> LiveInput:
    """Connect and find out what there is.

    Raises:
        ConnectError: it cannot be reached, or does not send media.
        MediaError: it names a file that cannot be read.
    """
    name = redacted(url)
    scheme = _scheme(url)
    settings = _settings(scheme, options)
    if url == STANDARD_INPUT:
        pipe = Pipe(_STANDARD_INPUT_FD, options.open_timeout_s)
        return _through(pipe, name, options.input_format, settings, options)
    if options.needs_program(url):
        return _through(_program(url, name, options), name, ProgramPipe.FORMAT, settings, options)
    is_file = names_file(url, options)
    ends = ends_by_itself(url, options)
    if is_file:
        url = locate(url).url
    container = _open(url, name, options.input_format, settings, options)
    has_times = not container.format.flags & cast(int, FormatFlags.no_timestamps.value)
    if container.streams.video and not has_times and scheme:
        # Motion JPEG and bare H.264 come as fast as the camera makes them, not at the 25 a second of FFmpeg's guess.
        container.close()
        settings = {"use_wallclock_as_timestamps": "1", **settings}
        container = _open(url, name, options.input_format, settings, options)
    if scheme in ("http", "https") and container.duration is not None and container.duration > 0:
        ends = not options.loop  # a recording: what is live does not know how long it will be
    return LiveInput(container, name, None, is_file, is_patient=is_file and not options.realtime, ends=ends)


def _through(
    pipe: Pipe, name: str, format_name: str | None, settings: dict[str, str], options: LiveOptions
) -> LiveInput:
    """A source that is read through ``pipe``."""
    try:
        container = _open(pipe, name, format_name, settings, options)
    except BaseException:
        pipe.close()
        raise
    pipe.timeout_s = options.stall_timeout_s
    is_ours = not isinstance(pipe, ProgramPipe)
    return LiveInput(container, name, pipe, is_file=False, is_patient=is_ours, ends=is_ours)


def _program(url: str, name: str, options: LiveOptions) -> ProgramPipe:
    program = ffmpeg_program()
    if program is None:
        raise ConnectError(f"{name}: needs the ffmpeg program, which is not installed.", "unsupported")
    raw = {"sample_rate": options.audio_rate_hz, "channels": options.audio_channels}
    settings = {key: str(value) for key, value in raw.items() if value is not None} | options.ffmpeg_options
    return ProgramPipe(program, url, options.input_format, settings, options.open_timeout_s)


def failure(error: BaseException | None, name: str, doing: str, timeout_s: float) -> ConnectError:
    """``error`` in words for people, with nothing of the URL but ``name``.

    Args:
        error: of FFmpeg's, or the operating system's.
        name: of the source, without credentials.
        doing: what was being done, such as ``opened as media``.
        timeout_s: how long it might take.
    """
    if isinstance(error, av_error.ExitError | StalledError):
        return ConnectError(f"{name}: no answer within {timeout_s:g} s.", "timeout")
    if isinstance(error, EOFError):
        return ConnectError(f"{name}: ends before any media.", "ended")
    reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "connect")
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        reason = "unreachable"
    said = redacted(str(getattr(error, "strerror", None) or error)).rstrip(".")
    return ConnectError(f"{name}: cannot be {doing}: {said}.", reason)


_REASONS: dict[type[BaseException], str] = {
    av_error.HTTPUnauthorizedError: "unauthorized",
    av_error.HTTPForbiddenError: "unauthorized",
    av_error.HTTPNotFoundError: "not-found",
    av_error.ProtocolNotFoundError: "unsupported",
    av_error.DemuxerNotFoundError: "unsupported",
    av_error.InvalidDataError: "unreadable",
    ConnectionRefusedError: "refused",
    ConnectionResetError: "lost",
    BrokenPipeError: "lost",
    FileNotFoundError: "not-found",
    PermissionError: "unauthorized",
    TimeoutError: "timeout",
}
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def _open(
    file: str | Pipe, name: str, format_name: str | None, settings: dict[str, str], options: LiveOptions
) -> InputContainer:
    try:
        return av.open(
            file,
            mode="r",
            format=format_name,
            options=settings,
            metadata_errors="replace",
            timeout=(options.open_timeout_s, options.stall_timeout_s),
        )
    except InterruptedError as error:
        # PyAV can lose the KeyboardInterrupt of a Ctrl-C that ends a system call of FFmpeg's.
        raise KeyboardInterrupt from error
    except (av_error.FFmpegError, OSError, ValueError, StalledError) as error:
        reason = failure(error, name, "opened as media", options.open_timeout_s)
    raise reason  # outside, so that the error with the URL in it is not its context


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match else ""


def _settings(scheme: str, options: LiveOptions) -> dict[str, str]:
    """FFmpeg's options for this kind of source; the operator's own come last."""
    settings = {"analyzeduration": str(_ANALYSE_S * 1_000_000)}
    if scheme in ("rtsp", "rtsps"):
        settings["rtsp_transport"] = options.transport
        if options.use != "both":
            settings["allowed_media_types"] = options.use
    elif scheme == "udp":
        settings["buffer_size"] = str(_SOCKET_BUFFER_BYTES)
        settings["fifo_size"] = str(_UDP_QUEUE_PACKETS)
        settings["overrun_nonfatal"] = "1"
    elif scheme.startswith("rtmp"):
        settings["rtmp_live"] = "live"
    if options.audio_rate_hz is not None:
        settings["sample_rate"] = str(options.audio_rate_hz)
    if options.audio_channels is not None:
        settings["ch_layout"] = f"{options.audio_channels}c"
    return settings | options.ffmpeg_options
