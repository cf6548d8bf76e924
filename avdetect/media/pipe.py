"""Pipes to read through: standard input, and the ``ffmpeg`` program for what the linked FFmpeg lacks."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
import weakref
from collections.abc import Mapping

__all__ = ["FifoPipe", "Pipe", "ProgramPipe", "StalledError", "ffmpeg_program"]

_POLL_S = 0.1


class StalledError(Exception):
    """A pipe has had nothing for too long."""


class Pipe:
    """A file descriptor as FFmpeg reads it: what there is, as soon as there is something, and never for ever."""

    name = "pipe"
    """PyAV asks for it."""

    def __init__(self, descriptor: int, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        """For how long there may be nothing."""
        self._descriptor = descriptor
        self._closed = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end.

        Raises:
            StalledError: nothing came within the time.
        """
        deadline_s = time.monotonic() + self.timeout_s
        while not self._closed:
            if self._poll.poll(_POLL_S * 1000):
                return os.read(self._descriptor, size)
            if time.monotonic() > deadline_s:
                raise StalledError
        return b""

    def interrupt(self) -> None:
        """Let a waiting reader go."""
        self._closed = True

    def close(self) -> None:
        """Once nobody reads any more; standard input stays open for whoever connects next."""
        self._closed = True


class FifoPipe(Pipe):
    """A named pipe; unlike FFmpeg's own way of opening it, this does not wait for a writer for ever."""

    def __init__(self, path: str, timeout_s: float) -> None:
        """Open it; whether somebody writes to it turns out when it is read."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        weakref.finalize(self, os.close, descriptor)  # FFmpeg reads until the container is gone
        super().__init__(descriptor, timeout_s)


class ProgramPipe(Pipe):
    """What the ``ffmpeg`` program reads from a source, handed on as it is in FFmpeg's own format NUT."""

    FORMAT = "nut"

    def __init__(self, program: str, url: str, source_format: str | None, options: Mapping[str, str], timeout_s: float):
        """Start the program.

        Args:
            program: its path.
            url: of the source. Every user of the machine sees the arguments of a program, so it is told as a script on
                standard input where it may hold credentials: where it is no device.
            source_format: FFmpeg's name of the kind of device; ``None``: a URL.
            options: of FFmpeg's protocols and demuxers.
            timeout_s: for how long there may be nothing.
        """
        if source_format is None:
            source = ["-protocol_whitelist", _PROTOCOLS, "-f", "concat", "-safe", "0", "-i", "pipe:0"]
            script = _concat_script(url, options)
        else:
            settings = [word for key, value in options.items() for word in (f"-{key}", value)]
            source = [*settings, "-f", source_format, "-i", url]
            script = ""
        sink = ["-c", "copy", "-flush_packets", "1", "-f", self.FORMAT, "pipe:1"]
        self._process = subprocess.Popen(
            [program, "-v", "quiet", *source, *sink],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(script.encode())
        self._process.stdin.close()
        self._output = self._process.stdout
        super().__init__(self._output.fileno(), timeout_s)

    def interrupt(self) -> None:
        """End the program; a waiting reader finds the end of the pipe."""
        super().interrupt()
        self._process.kill()

    def close(self) -> None:
        """Let go of the program."""
        self.interrupt()
        self._process.wait()
        self._output.close()


_PROTOCOLS = "file,pipe,fd,tcp,udp,rtp,crypto,srt,rist"


def ffmpeg_program() -> str | None:
    """Where the ``ffmpeg`` program is, if it is installed."""
    return shutil.which("ffmpeg")


def _concat_script(url: str, options: Mapping[str, str]) -> str:
    """FFmpeg's script of a list of one source."""
    lines = ["ffconcat version 1.0", f"file {_quoted(url)}"]
    lines += [f"option {key} {_quoted(value)}" for key, value in options.items()]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
