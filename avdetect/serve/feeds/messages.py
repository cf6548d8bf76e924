"""What a feed's process and the engine tell each other: pickled, over a pipe, snippets only as fast as they are taken.

A feed runs in a process of its own, so that a decoder that crashes or hangs takes nothing else with it. That process
does all that touches the media: it connects, decodes, makes snippets and cuts clips. The engine does the rest.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from avdetect.media.packets import MediaInfo
from avdetect.redaction import redacted
from avdetect.snippets.snippet import Snippet

__all__ = [
    "ClipCut",
    "CutClip",
    "FromFeed",
    "Logged",
    "Outbound",
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
    is_final: bool = False
    """Whether the source is over with that: nothing is lost, and nothing comes after it."""


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


MAX_UNTAKEN_SNIPPETS = 4
"""Sent, but not scored yet."""
MAX_WAITING_SNIPPETS = 8
"""Beyond these the oldest is dropped: five seconds of a hop of 0.64 s."""
_FAILED = 1


class Outbound:
    """A thread that sends, so that nobody else waits for the engine; a snippet is about 0.2 MB, more than a pipe holds.

    The process ends when the engine is gone.
    """

    def __init__(self, connection: Connection[FromFeed, ToFeed], *, drops: bool) -> None:
        """``drops``: whether the oldest snippets are dropped when too many wait; ``False``: wait for room."""
        self._connection = connection
        self._drops = drops
        self._waiting: deque[FromFeed] = deque()
        self._num_waiting_snippets = 0
        self._num_untaken = 0
        self._num_dropped = 0
        self._is_sending = False
        self._changed = threading.Condition()
        self._released = False
        threading.Thread(target=self._run, name="avdetect-send", daemon=True).start()

    def send(self, message: FromFeed) -> None:
        """Send a message after those before it, with nothing in it that is secret."""
        if isinstance(message, StretchEnded | Waiting | ClipCut | Logged):
            message = replace(message, message=redacted(message.message))
        with self._changed:
            if isinstance(message, SnippetReady):
                self._make_room()
                self._num_waiting_snippets += 1
                message = replace(message, num_dropped=message.num_dropped + self._num_dropped)
                self._num_dropped = 0
            self._waiting.append(message)
            self._changed.notify_all()

    def drop(self, count: int) -> None:
        """So many snippets before the next one were given up."""
        with self._changed:
            self._num_dropped += count

    def taken(self, count: int) -> None:
        """The engine has scored so many snippets."""
        with self._changed:
            self._num_untaken = max(self._num_untaken - count, 0)
            self._changed.notify_all()

    def release(self) -> None:
        """Nobody waits for room any longer."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def flush(self, timeout_s: float | None) -> None:
        """Wait until all has been sent, or the time is over, or, without a time, until ``release``."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while self._waiting or self._is_sending:
                rest_s = None if deadline_s is None else deadline_s - time.monotonic()
                if (rest_s is None and self._released) or (rest_s is not None and rest_s <= 0):
                    return
                self._changed.wait(rest_s)

    def _make_room(self) -> None:
        if not self._drops:
            while self._num_waiting_snippets >= MAX_WAITING_SNIPPETS and not self._released:
                self._changed.wait()
        elif self._num_waiting_snippets >= MAX_WAITING_SNIPPETS:
            oldest, following, *_ = (
                at for at, message in enumerate(self._waiting) if isinstance(message, SnippetReady)
            )
            self._waiting[following] = _preceded_by(self._waiting[following], self._waiting[oldest])
            del self._waiting[oldest]
            self._num_waiting_snippets -= 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_sending = False
                self._changed.notify_all()
                while not self._may_send():
                    self._changed.wait()
                message = self._waiting.popleft()
                self._is_sending = True
                if isinstance(message, SnippetReady):
                    self._num_waiting_snippets -= 1
                    self._num_untaken += 1
            try:
                self._connection.send(message)
            except OSError:
                os._exit(_FAILED)  # there is nobody left to work for

    def _may_send(self) -> bool:
        if not self._waiting:
            return False
        return not isinstance(self._waiting[0], SnippetReady) or self._num_untaken < MAX_UNTAKEN_SNIPPETS


def _preceded_by(snippet: FromFeed, dropped: FromFeed) -> SnippetReady:
    """``snippet``, now that the one before it is given up."""
    assert isinstance(snippet, SnippetReady)
    assert isinstance(dropped, SnippetReady)
    return replace(snippet, num_dropped=snippet.num_dropped + dropped.num_dropped + 1)
