"""Where a source is read from: checks a path, URL or ``-`` before FFmpeg sees it. Loads neither FFmpeg nor numpy."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import MediaError

if TYPE_CHECKING:
    from avdetect.media.live_options import LiveOptions

__all__ = [
    "FILE_PROTOCOL",
    "STANDARD_INPUT",
    "Location",
    "ends_by_itself",
    "file_url",
    "identity",
    "is_url",
    "locate",
    "names_file",
]

STANDARD_INPUT = "-"
NETWORK_TIMEOUT_S = 30.0
"""How long a server may say nothing before it is given up."""
FILE_PROTOCOL = "file:"
PIPE_PROBE_BYTES = 32 << 20
"""What is read of a pipe before it is decided which streams there are: it cannot be opened again."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


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
    probe_bytes: int | None = None
    """How far FFmpeg reads ahead for streams that begin late; ``None`` for its own choice."""
    is_fifo: bool = False
    """Whether it is a named pipe, which somebody has to write to."""


def locate(uri: str | Path) -> Location:
    """Turn a path, a URL or ``-`` (standard input) into a location.

    Raises:
        MediaError: a path that does not name a readable file with something in it.
    """
    name = str(uri)
    if name == STANDARD_INPUT:
        return Location(name, "pipe:0", rereadable=False, timeout_s=None, probe_bytes=PIPE_PROBE_BYTES)
    if is_url(name):
        return Location(name, name, rereadable=name.lower().startswith("http"), timeout_s=NETWORK_TIMEOUT_S)
    path = Path(name)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        what = "leads to no file" if path.is_symlink() else "no such file"
        raise MediaError(f"{name}: {what}.") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a null byte in the name
        raise MediaError(f"{name!r}: not a file name: {error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{name}: is a directory, not a media file.")
    if stat.S_ISCHR(status.st_mode):
        raise MediaError(f"{name}: is a device, not a media file; watch a camera or microphone with `avdetect watch`.")
    regular = stat.S_ISREG(status.st_mode)
    if regular:  # opening a FIFO would wait for its writer, and take what it writes
        _check_readable(name)
        if status.st_size == 0:
            raise MediaError(f"{name}: is empty (0 bytes).")
    # With the protocol spelt out, a colon in the name is no protocol of its own.
    return Location(
        name,
        file_url(path),
        rereadable=regular,
        timeout_s=None,
        probe_bytes=None if regular else PIPE_PROBE_BYTES,
        is_fifo=stat.S_ISFIFO(status.st_mode),
    )


def _check_readable(name: str) -> None:
    try:
        with Path(name).open("rb"):
            pass
    except PermissionError as error:
        raise MediaError(f"{name}: no permission to read it.") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {error.strerror}.") from error


def identity(name: str) -> str:
    """What tells a path, URL or ``-`` from another: the same for two names of one file, whether it exists or not.

    Never fails, whatever the name: one that leads nowhere, or in a circle, is its own identity.
    """
    if name == STANDARD_INPUT or is_url(name):
        return name
    try:
        return os.path.realpath(name)
    except (OSError, ValueError):
        return os.path.abspath(name) if "\0" not in name else name  # noqa: PTH100 - a string throughout


def file_url(path: Path) -> str:
    """The name by which FFmpeg takes a path for a file whatever it looks like: a colon in it is no protocol."""
    return f"{FILE_PROTOCOL}{path}"


def names_file(url: str, options: LiveOptions) -> bool:
    """Whether a live source is a file or a named pipe, and neither a device nor something on a network."""
    if url == STANDARD_INPUT or is_url(url):
        return False
    try:
        mode = Path(url).stat().st_mode
    except (OSError, ValueError):
        return options.input_format is None  # not there yet; with a format it is the name of a device
    if options.input_format is not None:
        return stat.S_ISREG(mode)
    return not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode))


def ends_by_itself(url: str, options: LiveOptions) -> bool:
    """Whether a live source ends some day and stays ended, so that its end is no loss and nobody connects again.

    So it is with standard input, and with a file or named pipe that is not played in a loop.
    """
    return url == STANDARD_INPUT or (names_file(url, options) and not options.loop)


def is_url(name: str) -> bool:
    """Whether ``name`` is a URL, and not a path."""
    return _URL.match(name) is not None
