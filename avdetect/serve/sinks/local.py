"""Reports on this machine: appended to a file, or given to a program of the operator's."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from avdetect.redaction import redacted
from avdetect.serve.sinks.base import Delivery, DeliveryError, StatelessSink
from avdetect.serve.sinks.settings import CommandSettings, FileSettings

__all__ = ["CommandSink", "FileSink"]

_TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""
_MAX_COMPLAINT_BYTES = 300
_PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY"),
        *("SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "APPDATA"),
    }
)
"""Of our environment: what programs need to run, speak and show something."""


class CommandSink(StatelessSink):
    """Runs a program with ``Delivery.document()`` as JSON on its standard input.

    Its environment holds the parts of the report, ``AVDETECT_KIND``, ``AVDETECT_KEY``, ``AVDETECT_FEED``,
    ``AVDETECT_CLASS`` ... (empty for what is not known), and of ours only what programs need to run and what
    ``pass_env`` names: the rest may hold credentials. Exit status 0 takes the report. 75 (EX_TEMPFAIL) has it tried
    again until it is taken; after any other, or a timeout, it is tried a few times, then given up: a mistake in the
    program must not hold up all that follows.
    """

    def __init__(self, name: str, settings: CommandSettings) -> None:
        super().__init__(name)
        self._settings = settings
        self._seq = -1
        self._num_attempts = 0

    def deliver(self, delivery: Delivery) -> None:
        """Run the program to its end.

        Raises:
            DeliveryError: it could not be run, failed or took too long.
        """
        if delivery.seq != self._seq:
            self._seq, self._num_attempts = delivery.seq, 0
        self._num_attempts += 1
        last = self._num_attempts >= self._settings.attempts
        # Files, not pipes: a program may leave its input unread, or leave another behind that keeps its output open.
        with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as complaint:
            report.write(json.dumps(delivery.document()).encode())
            report.seek(0)
            try:
                status = self._run(self._environment(delivery), report, complaint)
            except OSError as error:
                raise DeliveryError(f"cannot run {self._program}: {error}", permanent=last) from error
            except subprocess.TimeoutExpired as error:
                said = f"{self._program} took longer than {self._settings.timeout_s:g} s and was killed"
                raise DeliveryError(said, permanent=last) from error
            if status != 0:
                said = f"{self._program} ended with status {status}{_last_line(complaint)}"
                raise DeliveryError(said, permanent=last and status != _TRY_AGAIN)

    @property
    def _program(self) -> str:
        return self._settings.argv[0]

    def _environment(self, delivery: Delivery) -> dict[str, str]:
        parts = {f"AVDETECT_{key.upper()}": _text(value) for key, value in delivery.document().items()}
        passed = {*_PASSED, *self._settings.pass_env}
        ours = {name: value for name, value in os.environ.items() if name in passed or name.startswith("LC_")}
        return {**ours, **parts}

    def _run(self, environment: Mapping[str, str], report: IO[bytes], complaint: IO[bytes]) -> int:
        with subprocess.Popen(
            self._settings.argv,
            stdin=report,
            stdout=subprocess.DEVNULL,
            stderr=complaint,
            env=environment,
            start_new_session=True,  # so that all it started can be killed with it
        ) as process:
            try:
                return process.wait(self._settings.timeout_s)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _last_line(complaint: IO[bytes]) -> str:
    """The end of what the program wrote to its standard error."""
    size = complaint.seek(0, os.SEEK_END)
    complaint.seek(max(0, size - _MAX_COMPLAINT_BYTES))
    lines = complaint.read().decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f": {redacted(said[-1])}" if said else ""


class FileSink(StatelessSink):
    """Appends ``Delivery.document()``, and waits until it is on the disk.

    The file is opened anew for every line, so that it may be moved away at any time.
    """

    def __init__(self, name: str, settings: FileSettings) -> None:
        super().__init__(name)
        self._path = None if settings.path == "-" else Path(settings.path)

    def deliver(self, delivery: Delivery) -> None:
        """Write one line.

        Raises:
            DeliveryError: the disk is full, a folder is missing, or nobody reads standard output any more.
        """
        line = json.dumps(delivery.document()) + "\n"
        try:
            if self._path is None:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                _append(self._path, line.encode())
        except (OSError, ValueError) as error:  # ValueError: the stream has been closed
            raise DeliveryError(f"cannot write {self._path or 'to standard output'}: {error}") from error


def _append(path: Path, line: bytes) -> None:
    with path.open("ab+", buffering=0) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a crash or a full disk cut the last line short
                    line = b"\n" + line
            _write(file.fileno(), line)
            os.fsync(file.fileno())
        else:
            _write(file.fileno(), line)


def _write(handle: int, line: bytes) -> None:
    if (num_written := os.write(handle, line)) < len(line):
        raise OSError(f"only {num_written} of {len(line)} bytes could be written")
