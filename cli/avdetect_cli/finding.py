"""What became of one source: what every output is made from."""

from __future__ import annotations

from dataclasses import dataclass

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.runtime.pipeline import ScoreResult, ScoreStats

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A scored source, one whose saved scores were read, or one that failed."""

    source: str
    curve: ScoreCurve | None = None
    """``None`` where the source failed."""
    events: tuple[Event, ...] = ()
    """In the order of their start."""
    media: MediaInfo | None = None
    """``None`` where the source was not opened."""
    notes: tuple[MediaNote, ...] = ()
    stats: ScoreStats | None = None
    """``None`` where nothing was scored."""
    error: str | None = None
    """Why it failed."""

    @staticmethod
    def of(result: ScoreResult) -> Finding:
        """From what scoring gave."""
        return Finding(result.source, result.curve, result.events, result.media, result.notes, result.stats)

    @staticmethod
    def failed(source: str, error: str) -> Finding:
        """Of a source that could not be scored, and why."""
        return Finding(source, error=error)
