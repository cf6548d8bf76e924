"""A program of the operator's, run for every report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from avdetect.redaction import redacted
from avdetect.serve.sinks.base import Delivery, DeliveryError, StatelessSink
from avdetect.serve.sinks.settings import CommandSettings

__all__ = ["CommandSink"]

_TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""
_MAX_COMPLAINT_BYTES = 300


class CommandSink(StatelessSink):
    """Runs a program with ``Delivery.document()`` as JSON on its standard input.

    Its environment holds ours and the parts of the report: ``AVDETECT_KIND``, ``AVDETECT_KEY``, ``AVDETECT_FEED``,
    ``AVDETECT_CLASS`` ... (empty for what is not known). Exit status 0 takes the report. 75 (EX_TEMPFAIL) has it tried
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
                status = self._run(_environment(delivery), report, complaint)
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


def _environment(delivery: Delivery) -> dict[str, str]:
    parts = {f"AVDETECT_{key.upper()}": _text(value) for key, value in delivery.document().items()}
    return {**os.environ, **parts}


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
