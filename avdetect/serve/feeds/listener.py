"""What the engine reports, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from avdetect.events.event import FeedEvent, FeedGap, SnippetScore

__all__ = ["ClipReady", "EngineListener", "FeedState", "FeedStatus", "Listeners", "ScoredSnippet"]

FeedState = Literal["connecting", "running", "waiting", "restarting", "ended", "stopped"]
"""Not there yet; media come in; lost, the next attempt follows; its process failed, a new one follows; the source has
come to its own end; taken out of service."""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How a feed is; reported whenever ``state`` or ``message`` changes."""

    feed: str
    state: FeedState
    since: datetime
    """UTC; of the state, not of the message."""
    message: str = ""
    """One sentence, without credentials; empty where all is well."""
    num_reconnects: int = 0
    """How often media came back after they were gone."""
    num_dropped_snippets: int = 0
    has_audio: bool | None = None
    """Whether the source has sound; ``None`` before it was reached."""
    has_video: bool | None = None
    """Whether it has pictures."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "feed": self.feed,
            "state": self.state,
            "since": self.since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "message": self.message,
            "reconnects": self.num_reconnects,
            "dropped_snippets": self.num_dropped_snippets,
            "has_audio": self.has_audio,
            "has_video": self.has_video,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSnippet:
    """A score of a live feed."""

    feed: str
    score: SnippetScore
    """Its span is media time of the feed."""
    at_unix_s: float
    """Wall-clock time of the snippet's end."""
    latency_s: float
    """From the arrival of the snippet's last packet to now: the detector's lookahead, queues and computing."""
    compute_s: float
    """From the arrival of the last packet that the score needed, lookahead included, to now."""
    level_dbfs: float | None = None
    """How loud the snippet was: decibels below the loudest there can be, so at most 0; ``None`` without sound."""


@dataclass(frozen=True, slots=True)
class ClipReady:
    """The clip and the picture of an event have been written; each ``None`` where there was nothing to cut."""

    feed: str
    event_id: str
    clip: Path | None
    thumbnail: Path | None
    message: str = ""
    early: bool = False
    """Whether it shows the beginning only; the whole clip follows when the event has closed."""


class EngineListener:
    """Called in the engine's thread, in the order in which things happen; it must not block for long.

    What is not overridden is ignored.
    """

    def on_event(self, event: FeedEvent) -> None:
        """An event opened, went on or closed."""

    def on_gap(self, gap: FeedGap) -> None:
        """A feed is not seen any more; ``ended_at`` is set where the gap is over already, as with drops."""

    def on_gap_end(self, gap: FeedGap) -> None:
        """The gap reported last for this feed, which is over now: the same but for ``ended_at``."""

    def on_score(self, scored: ScoredSnippet) -> None:
        """A snippet has been scored."""

    def on_state(self, status: FeedStatus) -> None:
        """A feed's state has changed."""

    def on_clip(self, ready: ClipReady) -> None:
        """The clip of an event is there, or will never be."""

    def on_turn(self) -> None:
        """The engine is alive: at least once a second."""


class Listeners(EngineListener):
    """Tells several listeners, in their order: what is stored first has been stored when the next one hears of it."""

    def __init__(self, *listeners: EngineListener) -> None:
        self._listeners = listeners

    def on_event(self, event: FeedEvent) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_event(event)

    def on_gap(self, gap: FeedGap) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_gap(gap)

    def on_gap_end(self, gap: FeedGap) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_gap_end(gap)

    def on_score(self, scored: ScoredSnippet) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_score(scored)

    def on_state(self, status: FeedStatus) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_state(status)

    def on_clip(self, ready: ClipReady) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_clip(ready)

    def on_turn(self) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.on_turn()
