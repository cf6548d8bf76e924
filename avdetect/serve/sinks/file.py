"""Reports as lines of JSON, in a file or on standard output."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from avdetect.serve.sinks.base import Delivery, DeliveryError, StatelessSink
from avdetect.serve.sinks.settings import FileSettings

__all__ = ["FileSink"]


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
