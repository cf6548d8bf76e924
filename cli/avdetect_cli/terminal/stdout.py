"""Standard output that may be full, closed or read by nobody: one sentence instead of a traceback."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from pathlib import Path
from typing import Any

from avdetect.errors import OutputError
from avdetect.files import why_not_written

__all__ = ["FAILED", "READER_GONE", "ReaderGoneError", "StdoutError", "guard_stdout"]

FAILED = 1
READER_GONE = 141
"""Exit codes; the second is what a shell reports of a program that SIGPIPE ended."""

_STDOUT = 1


class StdoutError(OutputError):
    """Standard output cannot be written."""


class ReaderGoneError(StdoutError):
    """Standard output is a pipe that nobody reads any more."""


def guard_stdout() -> None:
    """Let a failure of standard output raise ``StdoutError`` from now on, once; what follows goes nowhere."""
    before = sys.stdout
    try:
        number = None if before is None else before.fileno()
    except OSError:
        return  # it lies in memory, as in a test
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # one that is closed would be given to the next file
        pass
    os.close(descriptor)
    raw = _GuardedStdout(number)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        # A file name that the terminal's encoding lacks is shown escaped, as stderr does by itself.
        errors="backslashreplace",
        line_buffering=raw.isatty(),
    )


class _GuardedStdout(io.RawIOBase):
    """The bytes below ``sys.stdout``, whatever layers libraries put above them.

    Args:
        descriptor: ``None`` where standard output was closed before the program began.
    """

    def __init__(self, descriptor: int | None) -> None:
        super().__init__()
        self._descriptor = _STDOUT if descriptor is None else descriptor
        self._closed = descriptor is None
        self._given_up = False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        """Write as any raw stream does.

        Raises:
            StdoutError: It cannot be written; what is written after that is dropped.
        """
        if self._given_up:
            return len(memoryview(data))
        if self._closed:
            self._given_up = True
            raise StdoutError("cannot write to standard output: it is closed.")
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            select.select([], [self._descriptor], [])
            return self.write(data)
        except OSError as error:
            self._given_up = True
            if error.errno == errno.EPIPE:
                raise ReaderGoneError("cannot write to standard output: nobody reads it any more.") from error
            reason = why_not_written(error, Path("standard output"))
            raise StdoutError(f"cannot write to standard output: {reason}.") from error
