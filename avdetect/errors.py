"""Every error avdetect raises on purpose.

    AvdetectError
    ├── MediaError        a source cannot be opened, read or decoded
    ├── BundleError       a bundle is missing, damaged, of another version or contradicts itself
    ├── ProviderError     an execution provider was asked for and could not be loaded
    ├── CheckpointError   a checkpoint is missing, damaged or not of the kind asked for
    ├── DataError         a list of training data, or what it names, has mistakes, or a configuration cannot be read
    ├── ScoresError       a file of saved scores cannot be read or written
    ├── SoundIndexError   an index of sound is missing, damaged, in use, or made by another alignment
    ├── StoreError        the store of a service is damaged, in use or of another version, or its disk is full
    ├── OutputError       a result cannot be written where it was asked for
    └── UsageError        values that cannot be used together or at all (exit code 2 on the command line)

Each message is one sentence or two: what was asked, what was found, what to do.
"""

from __future__ import annotations

import re

__all__ = [
    "AvdetectError",
    "BundleError",
    "CheckpointError",
    "DataError",
    "MediaError",
    "OutputError",
    "ProviderError",
    "ScoresError",
    "SoundIndexError",
    "StoreError",
    "UsageError",
    "printable",
]

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, changes of direction, and bytes of a name that are no text."""


def printable(text: str) -> str:
    """Escape what would steer a terminal or forge a line of a log; all other text stays as it is."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class AvdetectError(Exception):
    """Base of all errors that avdetect raises on purpose.

    Args:
        lines: The message, and a line for each of several mistakes. They may hold names as they were found: whatever
            in them would steer a terminal is escaped.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*map(printable, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class MediaError(AvdetectError):
    """A source cannot be opened, read or decoded."""


class BundleError(AvdetectError):
    """A bundle is missing, damaged, of another version or contradicts itself."""


class ProviderError(AvdetectError):
    """An execution provider was asked for and could not be loaded."""


class CheckpointError(AvdetectError):
    """A checkpoint is missing, damaged or not of the kind asked for."""


class DataError(AvdetectError):
    """A list of training data, or what it names, has mistakes, or a configuration cannot be read."""


class ScoresError(AvdetectError):
    """A file of saved scores cannot be read or written."""


class SoundIndexError(AvdetectError):
    """An index of sound is missing, damaged, in use, of another version or made by another alignment."""


class StoreError(AvdetectError):
    """The store of a service is damaged, in use or of another version, or its disk is full."""


class OutputError(AvdetectError):
    """A result cannot be written where it was asked for."""


class UsageError(AvdetectError):
    """Values that cannot be used together, or at all."""
