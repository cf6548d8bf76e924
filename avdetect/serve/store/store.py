"""Events, gaps and what has still to be delivered of them: all that a service must not forget."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from avdetect.events.event import FeedEvent, FeedGap
from avdetect.serve.sinks.base import Delivery, DeliveryKind
from avdetect.serve.store.database import Database
from avdetect.serve.store.schema import (
    Answer,
    StoredEvent,
    event_values,
    gap_values,
    micros,
    moment,
    to_event,
    to_gap,
    where,
)

__all__ = ["Answer", "Prunable", "ScoreBlock", "Store", "StoredEvent"]

_NEXT_DELIVERIES = """
    SELECT seq, kind, event_id, gap_id, stage, payload, EXISTS (
        SELECT 1 FROM deliveries AS later
        WHERE later.event_id = deliveries.event_id AND later.sink = deliveries.sink AND later.seq > deliveries.seq
        AND later.kind = 'event' AND later.failure IS NULL
    ) AS superseded
    FROM deliveries WHERE sink = ? AND failure IS NULL ORDER BY seq LIMIT ?
"""
_OLDER_THAN = "(started_at_us, position) < (SELECT started_at_us, position FROM events WHERE id = ?)"
_OPEN_GAPS = "SELECT position, feed FROM gaps WHERE ended_at_us IS NULL ORDER BY position"
_END_GAP_WHERE_KNOWN = """
    UPDATE gaps SET ended_at_us = max(
        started_at_us, coalesce((SELECT until_us FROM watched WHERE watched.feed = gaps.feed), ?)
    ) WHERE position = ?
"""
_RAN_UNTIL, _IDENTITY = "ran-until-us", "identity"
"""Names of facts."""
_UNDELIVERED = "EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id AND failure IS NULL)"


@dataclass(frozen=True, slots=True)
class ScoreBlock:
    """The scores of a feed in about a minute, packed; ``avdetect.serve.store.scores`` packs and unpacks them."""

    feed: str
    start: datetime
    end: datetime
    columns: str
    """JSON: which classes they are of, and by which bundle."""
    num_snippets: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Prunable:
    """A closed event, seen by who has to make room."""

    id: str
    files: tuple[str, ...]
    """Names of its clip and thumbnail."""
    ended_at: datetime
    undelivered: bool
    """Whether a sink has still to get something of it."""


class Store:
    """The memory of one service, in one SQLite file; a context manager, safe for use from any thread.

    When a ``record_...`` returns, what it was given survives a crash and a power cut, and so does its delivery: both
    are written in one transaction. Any method raises ``StoreError`` where the disk fails or is full; nothing is
    written then, and the next call may succeed.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the store at ``path``; create it where there is none, and bring an older one up to date.

        Args:
            path: of the SQLite file; SQLite keeps others beside it.
            read_only: for a program that looks at the store while the service runs.

        Raises:
            StoreError: the file is damaged, no store, in use by another service, or of a newer version; or it is to be
                read only, and missing or of an older version.
        """
        self.path = path
        self._database = Database(path, read_only=read_only)

    # What the service reports.

    def record_event(self, event: FeedEvent, sinks: Sequence[str] = ()) -> None:
        """Keep the newest report of an event, to be delivered to ``sinks``. A clip attached before stays."""
        with self._database.writing() as connection:
            _put_event(connection, event, sinks)

    def attach_clip(
        self,
        event_id: str,
        clip: str | None,
        thumbnail: str | None,
        sinks: Sequence[str] = (),
        *,
        failure: str | None = None,
    ) -> StoredEvent | None:
        """Note the file names of an event's clip and thumbnail, to be delivered to ``sinks`` unless they are known.

        Args:
            event_id: of the event.
            clip: name of the file; ``None`` for none, or none yet.
            thumbnail: the same of the picture.
            sinks: that are told.
            failure: why there will be no clip, in a sentence.

        Returns:
            The event with them, or ``None`` if it is not kept any more: nobody will miss the files.
        """
        with self._database.writing() as connection:
            before = _find_event(connection, event_id)
            if before is None:
                return None
            connection.execute(
                "UPDATE events SET clip = coalesce(?, clip), thumbnail = coalesce(?, thumbnail), clip_failure = ?"
                " WHERE id = ?",
                (clip, thumbnail, failure, event_id),
            )
            event = _find_event(connection, event_id)
            if event is not None and event != before:
                payload = {**FeedEvent.as_dict(event), "clip_failure": event.clip_failure}
                _enqueue(connection, sinks, "clip", event.stage, payload, event_id=event_id)
        return event

    def record_gap(self, gap: FeedGap, sinks: Sequence[str] = ()) -> int:
        """Keep a gap, to be delivered to ``sinks``.

        Returns:
            What ``end_gap`` wants.
        """
        with self._database.writing() as connection:
            row_id = _insert(connection, "gaps", gap_values(gap, str(uuid.uuid4())))
            _enqueue_gap(connection, row_id, sinks)
        return row_id

    def end_gap(
        self, row_id: int, ended_at: datetime, num_dropped_snippets: int = 0, sinks: Sequence[str] = ()
    ) -> None:
        """A gap is over. Of one that is not kept any more nothing is said."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE gaps SET ended_at_us = ?, num_dropped_snippets = ? WHERE position = ?",
                (micros(ended_at), num_dropped_snippets, row_id),
            )
            _enqueue_gap(connection, row_id, sinks)

    def note_watched(self, until: Mapping[str, datetime], now: datetime, *, ended: Collection[str] = ()) -> None:
        """Note up to when it is known what was seen of each feed, and that the service runs.

        A power cut may undo the last of these notes.

        Args:
            until: by feed; what is known of others stays.
            now: up to when the service has run.
            ended: feeds of which there is no more: what was not seen of them was not missed.
        """
        with self._database.writing(durable=False) as connection:
            rows = [(feed, micros(at)) for feed, at in until.items()]
            connection.executemany("INSERT OR REPLACE INTO watched (feed, until_us) VALUES (?, ?)", rows)
            connection.executemany("DELETE FROM watched WHERE feed = ?", [(feed,) for feed in ended])
            _set_fact(connection, _RAN_UNTIL, str(micros(now)))

    def watched(self) -> dict[str, datetime]:
        """All feeds that were ever watched, and up to when it is known what was seen of each."""
        with self._database.reading() as connection:
            return {feed: moment(until_us) for feed, until_us in connection.execute("SELECT * FROM watched")}

    def ran_until(self) -> datetime | None:
        """When the service last noted that it runs."""
        with self._database.reading() as connection:
            at_us = _fact(connection, _RAN_UNTIL)
        return None if at_us is None else moment(int(at_us))

    def identity(self) -> str:
        """What tells this installation from all others: made with the store, and the same for ever."""
        with self._database.writing() as connection:
            known = _fact(connection, _IDENTITY)
            if known is None:
                known = uuid.uuid4().hex
                _set_fact(connection, _IDENTITY, known)
        return known

    def set_threshold(self, feed: str, label: str, value: float | None) -> None:
        """Keep a threshold that was set while the service runs; with ``None`` that of the configuration holds again."""
        with self._database.writing() as connection:
            if value is None:
                connection.execute("DELETE FROM thresholds WHERE feed = ? AND label = ?", (feed, label))
            else:
                connection.execute("INSERT OR REPLACE INTO thresholds VALUES (?, ?, ?)", (feed, label, value))

    def thresholds(self, feed: str) -> dict[str, float]:
        """Those of a feed that were set while the service ran, by class."""
        with self._database.reading() as connection:
            query = "SELECT label, value FROM thresholds WHERE feed = ? ORDER BY label"
            return dict(connection.execute(query, (feed,)).fetchall())

    def close_dangling(
        self,
        at: datetime,
        sinks_of: Callable[[str, FeedEvent | None], Sequence[str]],
        *,
        but: Collection[int] = (),
    ) -> list[FeedEvent]:
        """Close what a service that died left open: events where they had come to, as interrupted; gaps where it died.

        Args:
            at: when gaps end of whose feed it is not known up to when it was watched.
            sinks_of: which sinks the reports of a feed, or of an event of it, go to.
            but: gaps that go on, by what ``record_gap`` returned.

        Returns:
            The closed events.
        """
        with self._database.writing() as connection:
            rows = connection.execute("SELECT * FROM events WHERE stage <> 'closed' ORDER BY position").fetchall()
            events: list[FeedEvent] = [replace(to_event(row), stage="closed", interrupted=True) for row in rows]
            for event in events:
                _put_event(connection, event, sinks_of(event.feed, event))
            for row_id, feed in connection.execute(_OPEN_GAPS).fetchall():
                if row_id not in but:
                    connection.execute(_END_GAP_WHERE_KNOWN, (micros(at), row_id))
                    _enqueue_gap(connection, row_id, sinks_of(feed, None))
        return events

    def open_gaps(self) -> dict[int, FeedGap]:
        """Those that have not ended, by what ``record_gap`` returned."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM gaps WHERE ended_at_us IS NULL ORDER BY position")
            return {row["position"]: to_gap(row) for row in rows}

    # What the operator asks and answers.

    def events(
        self,
        *,
        feed: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        min_confidence: float | None = None,
        answer: Answer | Literal["unanswered"] | None = None,
        before_id: str | None = None,
        limit: int = 100,
    ) -> list[StoredEvent]:
        """The events that meet all the conditions, the newest first.

        Args:
            feed: of this feed.
            label: of this class.
            since: begun at this time or later.
            until: begun before this time.
            min_confidence: with at least this confidence.
            answer: answered so, or not at all.
            before_id: the last event of the page before.
            limit: how many at most.
        """
        unanswered = answer == "unanswered"
        condition, values = where(
            ("feed = ?", feed),
            ("label = ?", label),
            ("started_at_us >= ?", None if since is None else micros(since)),
            ("started_at_us < ?", None if until is None else micros(until)),
            ("confidence >= ?", min_confidence),
            ("answer = ?", None if unanswered else answer),
            ("(answer IS NULL) = ?", unanswered or None),
            (_OLDER_THAN, before_id),
        )
        query = f"SELECT * FROM events WHERE {condition} ORDER BY started_at_us DESC, position DESC LIMIT ?"
        with self._database.reading() as connection:
            return [to_event(row) for row in connection.execute(query, (*values, limit))]

    def event(self, event_id: str) -> StoredEvent | None:
        """One event, if it is kept."""
        with self._database.reading() as connection:
            return _find_event(connection, event_id)

    def gaps(self, *, feed: str | None = None, since: datetime | None = None, limit: int = 100) -> list[FeedGap]:
        """Gaps, the newest first; with ``since`` those that were not over at that time."""
        condition, values = where(
            ("feed = ?", feed),
            ("(ended_at_us IS NULL OR ended_at_us > ?)", None if since is None else micros(since)),
        )
        query = f"SELECT * FROM gaps WHERE {condition} ORDER BY started_at_us DESC, position DESC LIMIT ?"
        with self._database.reading() as connection:
            return [to_gap(row) for row in connection.execute(query, (*values, limit))]

    def feeds(self) -> list[str]:
        """Names of all feeds of which something is kept, in alphabetical order."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT feed FROM events UNION SELECT feed FROM gaps ORDER BY feed")
            return [name for (name,) in rows]

    def active(self) -> set[tuple[str, str]]:
        """Feeds and classes that have an open event."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT DISTINCT feed, label FROM events WHERE stage <> 'closed'")
            return {(row["feed"], row["label"]) for row in rows}

    def set_answer(self, event_id: str, answer: Answer | None) -> StoredEvent | None:
        """Keep, or take back with ``None``, what the operator says of an event.

        Returns:
            The event with the answer, or ``None`` if it is not kept.
        """
        with self._database.writing() as connection:
            connection.execute("UPDATE events SET answer = ? WHERE id = ?", (answer, event_id))
            return _find_event(connection, event_id)

    def answers(self) -> list[StoredEvent]:
        """All events that the operator answered, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM events WHERE answer IS NOT NULL ORDER BY started_at_us, position")
            return [to_event(row) for row in rows]

    # What the sinks have still to get.

    def next_deliveries(self, sink: str, limit: int = 100) -> list[Delivery]:
        """The oldest reports that ``sink`` has not got, in the order in which they were recorded."""
        with self._database.reading() as connection:
            return [_to_delivery(row) for row in connection.execute(_NEXT_DELIVERIES, (sink, limit))]

    def delivered(self, sink: str, seq: int) -> None:
        """``sink`` has the report. A power cut may undo this: the report is then delivered once more."""
        with self._database.writing(durable=False) as connection:
            connection.execute("DELETE FROM deliveries WHERE sink = ? AND seq = ?", (sink, seq))

    def give_up(self, sink: str, seq: int, reason: str) -> None:
        """``sink`` refuses the report for good: it is not tried again, and kept for as long as its event."""
        with self._database.writing(durable=False) as connection:
            connection.execute("UPDATE deliveries SET failure = ? WHERE sink = ? AND seq = ?", (reason, sink, seq))

    def give_up_all_but(self, sinks: Collection[str]) -> int:
        """What waits for a sink that is not configured any more is not tried again.

        Returns:
            How many reports.
        """
        marks = ", ".join("?" * len(sinks))
        with self._database.writing(durable=False) as connection:
            return connection.execute(
                "UPDATE deliveries SET failure = 'the sink is not configured any more'"
                f" WHERE failure IS NULL AND sink NOT IN ({marks})",
                tuple(sinks),
            ).rowcount

    def backlog(self) -> dict[str, int]:
        """How many reports wait, for each sink that something waits for."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT sink, count(*) FROM deliveries WHERE failure IS NULL GROUP BY sink")
            return dict(rows.fetchall())

    def refused(self) -> dict[str, int]:
        """How many reports each sink refused for good, of the events and gaps that are kept."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT sink, count(*) FROM deliveries WHERE failure IS NOT NULL GROUP BY sink")
            return dict(rows.fetchall())

    # What retention needs.

    def expired(self, ended_before: datetime, limit: int) -> list[Prunable]:
        """The oldest closed events that ended so early, but none that is undelivered or has an answer."""
        return self._prunable(f"answer IS NULL AND NOT {_UNDELIVERED} AND ended_at_us < ?", micros(ended_before), limit)

    def most_dispensable(self, limit: int) -> list[Prunable]:
        """Closed events, the oldest first; those with an answer after the others, the undelivered after all."""
        return (
            self._prunable(f"answer IS NULL AND NOT {_UNDELIVERED}", limit)
            or self._prunable(f"answer IS NOT NULL AND NOT {_UNDELIVERED}", limit)
            or self._prunable(_UNDELIVERED, limit)
        )

    def forget_events(self, event_ids: Sequence[str]) -> None:
        """Delete events, and their deliveries with them."""
        with self._database.writing() as connection:
            connection.executemany("DELETE FROM events WHERE id = ?", [(event_id,) for event_id in event_ids])

    def forget_gaps(self, ended_before: datetime, *, undelivered: bool = False) -> int:
        """Delete gaps that ended so early, and their deliveries; undelivered ones only if told so.

        Returns:
            How many.
        """
        waiting = "EXISTS (SELECT 1 FROM deliveries WHERE gap_id = gaps.id AND failure IS NULL)"
        query = f"DELETE FROM gaps WHERE ended_at_us < ? AND (? OR NOT {waiting})"
        with self._database.writing(durable=False) as connection:
            return connection.execute(query, (micros(ended_before), undelivered)).rowcount

    # The scores of all snippets; ``scores`` says what is in a block.

    def put_scores(self, blocks: Sequence[ScoreBlock]) -> None:
        """Keep blocks of scores; a power cut may undo the last of them."""
        with self._database.writing(durable=False) as connection:
            for block in blocks:
                connection.execute("INSERT OR IGNORE INTO score_columns (text) VALUES (?)", (block.columns,))
                query = "SELECT id FROM score_columns WHERE text = ?"
                (columns_id,) = connection.execute(query, (block.columns,)).fetchone()
                values = {
                    "feed": block.feed,
                    "start_us": micros(block.start),
                    "end_us": micros(block.end),
                    "columns_id": columns_id,
                    "num_snippets": block.num_snippets,
                    "data": block.data,
                }
                _insert(connection, "scores", values)

    def score_blocks(self, feed: str) -> Iterator[ScoreBlock]:
        """The blocks of a feed, the oldest first, one by one."""
        query = (
            "SELECT feed, start_us, end_us, text, num_snippets, data FROM scores"
            " JOIN score_columns ON score_columns.id = columns_id WHERE feed = ? ORDER BY start_us"
        )
        with self._database.reading() as connection:
            for row in connection.execute(query, (feed,)):
                start, end = moment(row["start_us"]), moment(row["end_us"])
                yield ScoreBlock(row["feed"], start, end, row["text"], row["num_snippets"], row["data"])

    def scored_feeds(self) -> list[str]:
        """Names of the feeds of which scores are kept."""
        with self._database.reading() as connection:
            return [name for (name,) in connection.execute("SELECT DISTINCT feed FROM scores ORDER BY feed")]

    def forget_scores(self, *, ended_before: datetime | None = None, oldest: int = 0) -> int:
        """Delete blocks that ended so early, or so many of the oldest.

        Returns:
            How many.
        """
        with self._database.writing(durable=False) as connection:
            if ended_before is not None:
                return connection.execute("DELETE FROM scores WHERE end_us < ?", (micros(ended_before),)).rowcount
            query = "DELETE FROM scores WHERE position IN (SELECT position FROM scores ORDER BY end_us LIMIT ?)"
            return connection.execute(query, (oldest,)).rowcount

    def files(self) -> set[str]:
        """Names of all clips and thumbnails that belong to an event."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT clip FROM events UNION SELECT thumbnail FROM events")
            return {name for (name,) in rows if name is not None}

    def size_bytes(self) -> int:
        """What the rows take on the disk."""
        return self._database.size_bytes()

    def shrink(self) -> None:
        """Give the room of what was deleted back to the disk."""
        self._database.shrink()

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prunable(self, condition: str, *values: object) -> list[Prunable]:
        query = f"""
            SELECT id, clip, thumbnail, ended_at_us, {_UNDELIVERED} AS undelivered FROM events
            WHERE stage = 'closed' AND {condition} ORDER BY ended_at_us LIMIT ?
        """
        with self._database.reading() as connection:
            return [
                Prunable(
                    id=row["id"],
                    files=tuple(name for name in (row["clip"], row["thumbnail"]) if name is not None),
                    ended_at=moment(row["ended_at_us"]),
                    undelivered=bool(row["undelivered"]),
                )
                for row in connection.execute(query, values)
            ]


def _put_event(connection: sqlite3.Connection, event: FeedEvent, sinks: Sequence[str]) -> None:
    kept = _find_event(connection, event.id)
    if kept is None:
        _insert(connection, "events", event_values(event))
    else:
        event = replace(event, clip=event.clip or kept.clip, thumbnail=event.thumbnail or kept.thumbnail)
        values = event_values(event)
        columns = ", ".join(f"{name} = :{name}" for name in values)
        connection.execute(f"UPDATE events SET {columns} WHERE id = :id", values)
    _enqueue(connection, sinks, "event", event.stage, FeedEvent.as_dict(event), event_id=event.id)


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _set_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def _find_event(connection: sqlite3.Connection, event_id: str) -> StoredEvent | None:
    row = connection.execute("SELECT * FROM events WHERE id = ?", (event_id,)).fetchone()
    return None if row is None else to_event(row)


def _enqueue_gap(connection: sqlite3.Connection, row_id: int, sinks: Sequence[str]) -> None:
    row = connection.execute("SELECT * FROM gaps WHERE position = ?", (row_id,)).fetchone()
    if row is not None:
        gap = to_gap(row)
        stage = "began" if gap.ended_at is None else "ended"
        _enqueue(connection, sinks, "gap", stage, {"id": row["id"], **gap.as_dict()}, gap_id=row["id"])


def _enqueue(
    connection: sqlite3.Connection,
    sinks: Sequence[str],
    kind: DeliveryKind,
    stage: str,
    payload: Mapping[str, Any],
    *,
    event_id: str | None = None,
    gap_id: str | None = None,
) -> None:
    """A row of the outbox for each sink."""
    text = json.dumps(payload, separators=(",", ":"))
    for sink in sinks:
        values = {"sink": sink, "kind": kind, "stage": stage, "payload": text, "event_id": event_id, "gap_id": gap_id}
        _insert(connection, "deliveries", values)


def _to_delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        seq=row["seq"],
        key=f"{row['event_id'] or row['gap_id']}/{row['stage']}/{row['seq']}",
        kind=row["kind"],
        payload=json.loads(row["payload"]),
        superseded=bool(row["superseded"]),
    )


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, object]) -> int:
    """Returns the row's number."""
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    row_id = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values).lastrowid
    assert row_id is not None
    return row_id
