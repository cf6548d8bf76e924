"""What scoring a source gives."""

from __future__ import annotations

from dataclasses import dataclass

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo, MediaNote

__all__ = ["Progress", "ScoreResult", "ScoreStats"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far scoring has come."""

    done_s: float
    """Media time scored so far."""
    total_s: float | None
    """Media time to score, where known."""
    elapsed_s: float
    """Wall-clock time since the source was opened."""


@dataclass(frozen=True, slots=True)
class ScoreStats:
    """What scoring cost."""

    elapsed_s: float
    """Wall-clock time from opening the source to its last event."""
    media_s: float
    """Media time that was scored."""
    num_snippets: int
    providers: tuple[str, ...]
    """The execution providers that ran the graphs, the preferred one first."""

    @property
    def speed(self) -> float:
        """In times real time."""
        return self.media_s / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ScoreResult:
    """Scores, events and everything the user should know of one source."""

    source: str
    media: MediaInfo
    curve: ScoreCurve
    events: tuple[Event, ...]
    """In the order of their start."""
    notes: tuple[MediaNote, ...]
    """Warnings: damage, gaps, missing streams."""
    stats: ScoreStats
