"""The schema of the store as the steps that lead to it, and its rows as events and gaps."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from avdetect.errors import StoreError
from avdetect.events.event import Event, FeedEvent, FeedGap

__all__ = [
    "MIGRATIONS",
    "Answer",
    "StoredEvent",
    "check_version",
    "event_values",
    "gap_values",
    "micros",
    "migrate",
    "moment",
    "to_event",
    "to_gap",
    "where",
]

_APPLICATION_ID = 0x61766474
"""ASCII "avdt": tells the store from SQLite files of other programs."""

MIGRATIONS: tuple[str, ...] = (
    # Times are microseconds since 1970, UTC. ``position`` and ``seq`` are never used twice.
    """
    CREATE TABLE events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        feed TEXT NOT NULL,
        stage TEXT NOT NULL CHECK (stage IN ('opened', 'updated', 'closed')),
        label TEXT NOT NULL,
        confidence REAL NOT NULL,
        modality TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        peak_s REAL NOT NULL,
        started_at_us INTEGER NOT NULL,
        ended_at_us INTEGER NOT NULL,
        peak_at_us INTEGER NOT NULL,
        interrupted INTEGER NOT NULL CHECK (interrupted IN (0, 1)),
        clip TEXT,
        thumbnail TEXT,
        answer TEXT CHECK (answer IN ('confirmed', 'dismissed'))
    );
    CREATE INDEX events_by_time ON events (started_at_us, position);
    CREATE INDEX events_by_feed ON events (feed, started_at_us, position);
    CREATE INDEX events_by_label ON events (label, started_at_us, position);
    CREATE INDEX events_by_end ON events (ended_at_us);
    CREATE INDEX events_open ON events (position) WHERE stage <> 'closed';
    CREATE INDEX events_answered ON events (started_at_us, position) WHERE answer IS NOT NULL;

    CREATE TABLE gaps (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        feed TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        start_s REAL NOT NULL,
        started_at_us INTEGER NOT NULL,
        ended_at_us INTEGER,
        num_dropped_snippets INTEGER NOT NULL
    );
    CREATE INDEX gaps_by_time ON gaps (started_at_us);
    CREATE INDEX gaps_by_feed ON gaps (feed, started_at_us);
    CREATE INDEX gaps_open ON gaps (position) WHERE ended_at_us IS NULL;

    -- The outbox: one row per sink and report, deleted when the sink has it.
    CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        sink TEXT NOT NULL,
        kind TEXT NOT NULL,
        stage TEXT NOT NULL,
        event_id TEXT REFERENCES events (id) ON DELETE CASCADE,
        gap_id TEXT REFERENCES gaps (id) ON DELETE CASCADE,
        payload TEXT NOT NULL,
        failure TEXT
    );
    CREATE INDEX deliveries_pending ON deliveries (sink, seq) WHERE failure IS NULL;
    CREATE INDEX deliveries_by_event ON deliveries (event_id);
    CREATE INDEX deliveries_by_gap ON deliveries (gap_id);
    """,
    # The feeds that are watched, and up to when it is known what was seen of each.
    """
    CREATE TABLE watched (
        feed TEXT PRIMARY KEY,
        until_us INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    # Who this is and when it last ran; thresholds that were set on the page or through a broker; why a clip is missing;
    # scores of all snippets, by the minute (``scores``).
    """
    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE thresholds (
        feed TEXT NOT NULL,
        label TEXT NOT NULL,
        value REAL NOT NULL CHECK (value BETWEEN 0 AND 1),
        PRIMARY KEY (feed, label)
    ) WITHOUT ROWID;
    ALTER TABLE events ADD COLUMN clip_failure TEXT;
    CREATE TABLE score_columns (
        id INTEGER PRIMARY KEY,
        text TEXT NOT NULL UNIQUE
    );
    CREATE TABLE scores (
        position INTEGER PRIMARY KEY,
        feed TEXT NOT NULL,
        start_us INTEGER NOT NULL,
        end_us INTEGER NOT NULL,
        columns_id INTEGER NOT NULL REFERENCES score_columns (id),
        num_snippets INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX scores_by_feed ON scores (feed, start_us);
    CREATE INDEX scores_by_end ON scores (end_us);
    """,
)


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[str] = MIGRATIONS) -> None:
    """Bring the database up to the newest schema; each step is done wholly or not at all.

    Raises:
        StoreError: the database is of a newer program, or of another one.
    """
    check_version(connection, path, steps)
    for version in range(_version(connection) + 1, len(steps) + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {steps[version - 1]}; PRAGMA application_id = {_APPLICATION_ID};"
                f"PRAGMA user_version = {version}; COMMIT"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def check_version(connection: sqlite3.Connection, path: Path, steps: Sequence[str] = MIGRATIONS) -> bool:
    """Whether the database has the newest schema already.

    Raises:
        StoreError: the database is of a newer program, or of another one.
    """
    version = _version(connection)
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (num_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id != _APPLICATION_ID and num_tables:
        raise StoreError(f"{path} is the database of another program; name another file for the store.")
    if version > len(steps):
        raise StoreError(
            f"{path} was written by a newer avdetect (schema {version}, this one knows {len(steps)}); "
            "install that version, or name another file for the store."
        )
    return version == len(steps)


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


Answer = Literal["confirmed", "dismissed"]
"""What an operator says of an event: the detector was right, or not."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StoredEvent(FeedEvent):
    """An event as last reported, and what the operator said of it."""

    answer: Answer | None = None
    clip_failure: str | None = None
    """Why there is no clip, where one was wanted; a sentence."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**FeedEvent.as_dict(self), "answer": self.answer, "clip_failure": self.clip_failure}


def event_values(event: FeedEvent) -> dict[str, object]:
    """Columns of ``events``, all but the answer."""
    return {
        "id": event.id,
        "feed": event.feed,
        "stage": event.stage,
        "label": event.event.class_name,
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
            class_name=row["label"],
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
        clip_failure=row["clip_failure"],
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
