"""What a feed's process and the engine tell each other: pickled, over a pipe.

A feed runs in a process of its own, so that a decoder that crashes or hangs takes nothing else with it. That process
does all that touches the media: it connects, decodes, makes snippets and cuts clips. The engine does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avdetect.media.packets import MediaInfo
from avdetect.snippets.snippet import Snippet

__all__ = [
    "ClipCut",
    "CutClip",
    "FromFeed",
    "Logged",
    "SnippetReady",
    "SnippetsTaken",
    "Stop",
    "StretchBegan",
    "StretchEnded",
    "ToFeed",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class StretchBegan:
    """The feed is there: a new run of media without a gap, with a snippet grid of its own."""

    stretch: int
    """Counts from 0."""
    origin_unix_s: float
    """Wall-clock time of the grid's origin."""
    start_s: float
    """Media time of the feed at the grid's origin: seconds since the origin of its first stretch."""
    info: MediaInfo


@dataclass(frozen=True, slots=True, eq=False)
class SnippetReady:
    """A snippet of the current stretch; its span counts from the stretch's origin."""

    stretch: int
    snippet: Snippet
    received_unix_s: float
    """When the last packet that it needed came in."""
    num_dropped: int = 0
    """Snippets given up just before this one because the engine did not keep up."""


@dataclass(frozen=True, slots=True)
class StretchEnded:
    """The media ended, stalled or changed format; what comes next is a new stretch."""

    stretch: int
    reason: str
    """As in ``FeedGap.reason``."""
    message: str
    """One sentence, without credentials."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Connecting failed; the next attempt follows."""

    reason: str
    message: str
    retry_in_s: float
    num_attempts: int


@dataclass(frozen=True, slots=True)
class ClipCut:
    """Answer to ``CutClip``."""

    request: str
    clip: Path | None
    """``None`` where there was nothing to cut any more."""
    thumbnail: Path | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line for the service's log."""

    logger: str
    """Name of the logger."""
    level: int
    """As in ``logging``."""
    message: str
    """Without credentials; a traceback follows in lines of its own."""


@dataclass(frozen=True, slots=True)
class CutClip:
    """Write what was received between two times, as it is, once all of it is there."""

    request: str
    stretch: int
    start_s: float
    """Seconds from the stretch's origin, pre-roll included; the clip begins at the key frame before."""
    end_s: float
    """Post-roll included; it is cut earlier if the stretch ends."""
    thumbnail_s: float
    """Which moment to show."""
    folder: Path
    """Of both files, which are named after the request."""


@dataclass(frozen=True, slots=True)
class SnippetsTaken:
    """So many snippets have been scored: as many more may be sent."""

    count: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the stretch, send what is left, and exit."""


FromFeed = StretchBegan | SnippetReady | StretchEnded | Waiting | ClipCut | Logged
ToFeed = CutClip | SnippetsTaken | Stop
