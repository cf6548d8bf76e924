"""The scores of a snippet, the events that scores amount to, and the events and gaps of live feeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avdetect.timebase import Span

Modality = Literal["audio", "visual", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class SnippetScore:
    """Probabilities of one snippet; all arrays are float32 ``(classes,)`` in the manifest's order."""

    index: int
    span: Span
    scores: NDArray[np.float32]
    """Fused."""
    audio_scores: NDArray[np.float32]
    """From what was heard alone; zeros where there was no sound."""
    visual_scores: NDArray[np.float32]
    """From what was seen alone; zeros where there was no picture."""
    audio_present: bool
    visual_present: bool


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of one class that the event decoder opened and closed."""

    label: str
    start_s: float
    end_s: float
    peak_s: float
    """Middle of the snippet with the highest smoothed score."""
    confidence: float
    """That score."""
    modality: Modality
    """What carried it."""


EventStage = Literal["opened", "updated", "closed"]


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """What is known of an event of a live feed at one moment.

    An event is reported once as ``opened``, any number of times as ``updated``, and once as ``closed``.
    """

    id: str
    """A UUID: the same in every report of this event, and after a restart."""
    feed: str
    stage: EventStage
    event: Event
    """Seconds are media time of the feed: 0 where its first connection began, outages included."""
    started_at: datetime
    """UTC, like all that follow."""
    ended_at: datetime
    """As far as it has come, while the event is open."""
    peak_at: datetime
    interrupted: bool = False
    """Whether it was closed because the feed was lost: it may have gone on unseen."""
    clip: str | None = None
    """File name of the clip, once there is one."""
    thumbnail: str | None = None
    """File name of the picture at the peak, once there is one."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what every sink, the store's readers and the web page get."""
        return {
            "id": self.id,
            "feed": self.feed,
            "stage": self.stage,
            "class": self.event.label,
            "confidence": round(self.event.confidence, 4),
            "modality": self.event.modality,
            "start_s": round(self.event.start_s, 3),
            "end_s": round(self.event.end_s, 3),
            "peak_s": round(self.event.peak_s, 3),
            "started_at": _iso(self.started_at),
            "ended_at": _iso(self.ended_at),
            "peak_at": _iso(self.peak_at),
            "interrupted": self.interrupted,
            "clip": self.clip,
            "thumbnail": self.thumbnail,
        }


@dataclass(frozen=True, slots=True)
class FeedGap:
    """A time in which a feed was not seen, or not all of it."""

    feed: str
    reason: str
    """Stable, for programs: ``connect``, ``refused``, ``stalled``, ``ended``, ``format-change``, ``dropped`` ..."""
    message: str
    """One sentence for people, without credentials."""
    start_s: float
    """Media time of the feed."""
    started_at: datetime
    ended_at: datetime | None = None
    """``None`` while it lasts."""
    num_dropped_snippets: int = 0
    """Where the machine fell behind."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "feed": self.feed,
            "reason": self.reason,
            "message": self.message,
            "start_s": round(self.start_s, 3),
            "started_at": _iso(self.started_at),
            "ended_at": None if self.ended_at is None else _iso(self.ended_at),
            "dropped_snippets": self.num_dropped_snippets,
        }


def _iso(at: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
