"""Events and gaps as rows of the store, and back."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from avdetect.events.event import Event
from avdetect.events.feed_event import FeedEvent, FeedGap

__all__ = ["Answer", "StoredEvent", "event_values", "gap_values", "micros", "moment", "to_event", "to_gap", "where"]

Answer = Literal["confirmed", "dismissed"]
"""What an operator says of an event: the detector was right, or not."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StoredEvent(FeedEvent):
    """An event as last reported, and what the operator said of it."""

    answer: Answer | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**FeedEvent.as_dict(self), "answer": self.answer}


def event_values(event: FeedEvent) -> dict[str, object]:
    """Columns of ``events``, all but the answer."""
    return {
        "id": event.id,
        "feed": event.feed,
        "stage": event.stage,
        "label": event.event.label,
        "confidence": event.event.confidence,
        "modality": event.event.modality,
        "start_s": event.event.start_s,
        "end_s": event.event.end_s,
        "peak_s": event.event.peak_s,
        "started_at_us": micros(event.started_at),
        "ended_at_us": micros(event.ended_at),
        "peak_at_us": micros(event.peak_at),
        "interrupted": int(event.interrupted),
        "clip": event.clip,
        "thumbnail": event.thumbnail,
    }


def to_event(row: sqlite3.Row) -> StoredEvent:
    """An event of a row of ``events``."""
    return StoredEvent(
        id=row["id"],
        feed=row["feed"],
        stage=row["stage"],
        event=Event(
            label=row["label"],
            start_s=row["start_s"],
            end_s=row["end_s"],
            peak_s=row["peak_s"],
            confidence=row["confidence"],
            modality=row["modality"],
        ),
        started_at=moment(row["started_at_us"]),
        ended_at=moment(row["ended_at_us"]),
        peak_at=moment(row["peak_at_us"]),
        interrupted=bool(row["interrupted"]),
        clip=row["clip"],
        thumbnail=row["thumbnail"],
        answer=row["answer"],
    )


def gap_values(gap: FeedGap, gap_id: str) -> dict[str, object]:
    """Columns of ``gaps``."""
    return {
        "id": gap_id,
        "feed": gap.feed,
        "reason": gap.reason,
        "message": gap.message,
        "start_s": gap.start_s,
        "started_at_us": micros(gap.started_at),
        "ended_at_us": None if gap.ended_at is None else micros(gap.ended_at),
        "num_dropped_snippets": gap.num_dropped_snippets,
    }


def to_gap(row: sqlite3.Row) -> FeedGap:
    """A gap of a row of ``gaps``."""
    return FeedGap(
        feed=row["feed"],
        reason=row["reason"],
        message=row["message"],
        start_s=row["start_s"],
        started_at=moment(row["started_at_us"]),
        ended_at=None if row["ended_at_us"] is None else moment(row["ended_at_us"]),
        num_dropped_snippets=row["num_dropped_snippets"],
    )


def micros(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at_us: int) -> datetime:
    """The way back."""
    return _EPOCH + at_us * _MICROSECOND


def where(*conditions: tuple[str, object | None]) -> tuple[str, list[object]]:
    """An SQL condition and its values; a condition whose value is ``None`` is not wanted."""
    wanted = [(text, value) for text, value in conditions if value is not None]
    return " AND ".join(["1", *(text for text, _ in wanted)]), [value for _, value in wanted]
