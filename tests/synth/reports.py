"""Events and gaps of live feeds, made up."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from avdetect.events.event import Event, EventStage, FeedEvent, FeedGap

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def an_event(
    feed: str = "yard",
    label: str = "gunshot",
    *,
    stage: EventStage = "opened",
    confidence: float = 0.75,
    interrupted: bool = False,
    started_at: datetime = NOON,
) -> FeedEvent:
    """Two seconds long, with an id of its own."""
    return FeedEvent(
        id=str(uuid.uuid4()),
        feed=feed,
        stage=stage,
        event=Event(class_name=label, start_s=10.0, end_s=12.0, peak_s=11.0, confidence=confidence, modality="audio"),
        started_at=started_at,
        ended_at=started_at + timedelta(seconds=2),
        peak_at=started_at + timedelta(seconds=1),
        interrupted=interrupted,
    )


def a_gap(feed: str = "yard", *, started_at: datetime = NOON, ended_at: datetime | None = None) -> FeedGap:
    return FeedGap(
        feed=feed, reason="stalled", message="no packets.", start_s=20.0, started_at=started_at, ended_at=ended_at
    )
