from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from avdetect.errors import StoreError
from avdetect.serve.store import Store, StoredEvent
from avdetect.serve.store.schema import MIGRATIONS, migrate
from tests.synth.reports import NOON, a_gap, an_event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def test_an_event_comes_back_as_it_was_recorded(path: Path) -> None:
    event = replace(an_event(stage="closed", interrupted=True), started_at=NOON + timedelta(microseconds=123_457))

    with Store(path) as store:
        store.record_event(event)
        store.set_answer(event.id, "confirmed")
    with Store(path) as store:
        found = store.event(event.id)

    assert isinstance(found, StoredEvent)
    assert found.as_dict() == {**event.as_dict(), "answer": "confirmed", "clip_failure": None}
    assert (found.started_at, found.event) == (event.started_at, event.event)


def test_later_reports_of_an_event_replace_the_earlier_ones_but_not_its_clip(path: Path) -> None:
    event = an_event()
    with Store(path) as store:
        store.record_event(event, ["hook"])
        store.attach_clip(event.id, "a.mp4", "a.jpg", ["hook"])
        store.record_event(replace(event, stage="closed"), ["hook"])

        (kept,) = store.events()
        deliveries = store.next_deliveries("hook")

    assert (kept.stage, kept.clip, kept.thumbnail) == ("closed", "a.mp4", "a.jpg")
    assert [(each.kind, each.payload["stage"], each.payload["clip"]) for each in deliveries] == [
        ("event", "opened", None),
        ("clip", "opened", "a.mp4"),
        ("event", "closed", "a.mp4"),
    ]


def test_a_clip_of_an_event_that_is_gone_is_not_an_error(path: Path) -> None:
    with Store(path) as store:
        assert store.attach_clip("gone", "a.mp4", None, ["hook"]) is None
        assert store.set_answer("gone", "confirmed") is None
        assert store.backlog() == {}


def test_each_sink_has_a_queue_of_its_own_in_the_order_of_recording(path: Path) -> None:
    events = [an_event() for _ in range(3)]
    with Store(path) as store:
        for event in events:
            store.record_event(event, ["hook", "mqtt"])
        first = store.next_deliveries("hook", 1)[0]
        store.delivered("hook", first.seq)

        assert [each.payload["id"] for each in store.next_deliveries("hook")] == [event.id for event in events[1:]]
        assert [each.payload["id"] for each in store.next_deliveries("mqtt")] == [event.id for event in events]
        assert store.backlog() == {"hook": 2, "mqtt": 3}


def test_the_key_of_a_report_is_its_own_and_stays_the_same(path: Path) -> None:
    event = an_event()
    with Store(path) as store:
        for stage in ("opened", "updated", "updated", "closed"):
            store.record_event(replace(event, stage=stage), ["hook"])
        keys = [each.key for each in store.next_deliveries("hook")]
    with Store(path) as store:
        again = [each.key for each in store.next_deliveries("hook")]

    assert len(set(keys)) == 4
    assert keys == again


def test_a_sequence_number_is_not_used_again_after_all_was_delivered(path: Path) -> None:
    with Store(path) as store:
        store.record_event(an_event(), ["hook"])
        (first,) = store.next_deliveries("hook")
        store.delivered("hook", first.seq)
    with Store(path) as store:
        store.record_event(an_event(), ["hook"])
        (second,) = store.next_deliveries("hook")

    assert second.seq > first.seq


def test_a_report_knows_that_a_later_one_of_its_event_waits(path: Path) -> None:
    first, second = an_event(), an_event()
    with Store(path) as store:
        store.record_event(first, ["mqtt"])
        store.record_event(second, ["mqtt"])
        store.record_event(replace(first, stage="closed"), ["mqtt"])
        store.attach_clip(second.id, "b.mp4", None, ["mqtt"])

        assert [each.superseded for each in store.next_deliveries("mqtt")] == [True, False, False, False]


def test_a_report_that_is_refused_for_good_does_not_wait_any_more(path: Path) -> None:
    with Store(path) as store:
        store.record_event(an_event(), ["hook"])
        store.give_up("hook", store.next_deliveries("hook")[0].seq, "404")

        assert store.next_deliveries("hook") == []
        assert (store.backlog(), store.refused()) == ({}, {"hook": 1})


def test_what_waits_for_a_sink_that_is_gone_is_given_up(path: Path) -> None:
    with Store(path) as store:
        store.record_event(an_event(), ["hook", "old"])

        assert store.give_up_all_but(["hook"]) == 1
        assert store.backlog() == {"hook": 1}
        assert store.give_up_all_but([]) == 1
        assert store.backlog() == {}


def test_events_and_gaps_that_a_dead_service_left_open_are_closed_and_delivered(path: Path) -> None:
    was_open, was_closed = an_event(), an_event(stage="closed")
    with Store(path) as store:
        store.record_event(was_open)
        store.record_event(was_closed)
        store.record_gap(a_gap())
    with Store(path) as store:
        closed = store.close_dangling(NOON + timedelta(hours=1), lambda feed, event: ["hook"])

        assert [(event.id, event.stage, event.interrupted) for event in closed] == [(was_open.id, "closed", True)]
        assert closed[0].ended_at == was_open.ended_at
        assert [gap.ended_at for gap in store.gaps()] == [NOON + timedelta(hours=1)]
        assert [(each.kind, each.payload.get("stage")) for each in store.next_deliveries("hook")] == [
            ("event", "closed"),
            ("gap", None),
        ]
        assert store.close_dangling(NOON + timedelta(hours=2), lambda feed, event: []) == []


def test_a_gap_that_was_open_when_the_service_died_ends_where_the_feed_was_watched_last(path: Path) -> None:
    with Store(path) as store:
        gap, goes_on, drops = (
            store.record_gap(a_gap("yard")),
            store.record_gap(a_gap("door")),
            store.record_gap(a_gap("gate", started_at=NOON + timedelta(minutes=2))),
        )
        store.note_watched({"gone": NOON}, NOON)
        store.note_watched({name: NOON + timedelta(minutes=1) for name in ("yard", "door", "gate")}, NOON)
    with Store(path) as store:
        assert store.watched().keys() == {"gone", "yard", "door", "gate"}
        store.close_dangling(NOON + timedelta(hours=1), lambda feed, event: [f"{feed}-hook"], but=[goes_on])

        assert store.open_gaps().keys() == {goes_on}
        ends = {each.feed: each.ended_at for each in store.gaps()}
        assert ends == {"yard": NOON + timedelta(minutes=1), "door": None, "gate": NOON + timedelta(minutes=2)}
        assert store.backlog() == {"yard-hook": 1, "gate-hook": 1}
    assert len({gap, goes_on, drops}) == 3


def test_classes_with_an_open_event_are_active(path: Path) -> None:
    with Store(path) as store:
        event = an_event("yard", "gunshot")
        store.record_event(event)
        store.record_event(an_event("yard", "scream", stage="closed"))

        assert store.active() == {("yard", "gunshot")}
        store.record_event(replace(event, stage="closed"))
        assert store.active() == set()


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.events()
    with pytest.raises(StoreError, match="closed"):
        store.record_event(an_event())


def test_a_gap_is_delivered_when_it_begins_and_when_it_ends(path: Path) -> None:
    with Store(path) as store:
        row_id = store.record_gap(a_gap(), ["hook"])
        store.end_gap(row_id, NOON + timedelta(seconds=9), 4, ["hook"])
        began, ended = store.next_deliveries("hook")
        (gap,) = store.gaps()

    assert (began.payload["ended_at"], ended.payload["ended_at"]) == (None, "2026-05-01T12:00:09.000Z")
    assert began.payload["id"] == ended.payload["id"]
    assert (gap.num_dropped_snippets, ended.payload["dropped_snippets"]) == (4, 4)


def test_events_are_found_by_what_is_asked_of_them(path: Path) -> None:
    early = an_event(feed="yard", label="gunshot", confidence=0.9)
    late = replace(an_event(feed="door", label="scream", confidence=0.6), started_at=NOON + timedelta(minutes=5))
    with Store(path) as store:
        store.record_event(early)
        store.record_event(late)
        store.set_answer(early.id, "dismissed")
        moment = NOON + timedelta(minutes=5)

        def found(**conditions: object) -> list[str]:
            return [event.id for event in store.events(**conditions)]  # type: ignore[arg-type]

        assert found() == [late.id, early.id]
        assert found(feed="yard") == found(label="gunshot") == found(min_confidence=0.9) == [early.id]
        assert found(until=moment) == found(answer="dismissed") == [early.id]
        assert found(since=moment) == found(answer="unanswered") == [late.id]
        assert found(answer="confirmed") == found(feed="yard", label="scream") == found(feed="nowhere") == []
        assert [event.id for event in store.answers()] == [early.id]
        assert store.feeds() == ["door", "yard"]


def test_pages_join_without_a_hole_or_a_repetition_where_times_are_equal(path: Path) -> None:
    with Store(path) as store:
        for _ in range(7):
            store.record_event(an_event())
        pages: list[str] = []
        last: str | None = None
        while page := store.events(limit=3, before_id=last):
            pages += [event.id for event in page]
            last = page[-1].id

        assert pages == [event.id for event in store.events()]
        assert len(pages) == 7


def test_gaps_that_were_not_over_at_a_time_are_found(path: Path) -> None:
    with Store(path) as store:
        over = a_gap(ended_at=NOON + timedelta(seconds=5))
        lasting = a_gap(feed="door")
        store.record_gap(over)
        store.record_gap(lasting)

        assert store.gaps(since=NOON + timedelta(seconds=6)) == [lasting]
        assert store.gaps(feed="yard") == [over]


def test_many_threads_may_record_and_ask_at_once(path: Path) -> None:
    failures: list[BaseException] = []

    def work(store: Store) -> None:
        try:
            for _ in range(10):
                event = an_event()
                store.record_event(event, ["hook"])
                assert store.event(event.id) is not None
                store.events(limit=5)
        except BaseException as error:
            failures.append(error)

    with Store(path) as store:
        threads = [threading.Thread(target=work, args=(store,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert not failures
        assert len(store.next_deliveries("hook", 1000)) == 60


WRITER = """
    import sys
    from pathlib import Path
    from avdetect.serve.store import Store
    from tests.synth.reports import an_event

    with Store(Path(sys.argv[1])) as store:
        while True:
            event = an_event()
            store.record_event(event, ["hook"])
            print(event.id, flush=True)
"""


def test_nothing_that_was_reported_is_lost_when_the_process_is_killed(path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) as process:
        assert process.stdout is not None
        reported = [process.stdout.readline().strip() for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        reported += process.stdout.read().split()

    with Store(path) as store:
        waiting = [each.payload["id"] for each in store.next_deliveries("hook", 100_000)]
        kept = {event.id for event in store.events(limit=100_000)}

    assert waiting[: len(reported)] == reported
    assert len(waiting) <= len(reported) + 1
    assert kept == set(waiting)


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    with Store(path) as store:
        store.record_event(an_event())
        connection = store._database._writer
        assert connection is not None

        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_transaction_that_fails_leaves_nothing_behind(path: Path) -> None:
    bad = replace(an_event(), stage="exploded")  # type: ignore[arg-type]
    with Store(path) as store:
        with pytest.raises(StoreError, match="cannot use the store"):
            store.record_event(bad, ["hook"])
        store.record_event(an_event())

        assert len(store.events()) == 1
        assert store.backlog() == {}


def test_a_second_service_on_the_same_store_is_refused(path: Path) -> None:
    with Store(path), pytest.raises(StoreError, match="in use by another avdetect"):
        Store(path)
    Store(path).close()


def test_a_store_in_use_can_be_read_but_not_written(path: Path) -> None:
    with Store(path) as store:
        store.record_event(an_event())
        with Store(path, read_only=True) as reader:
            assert len(reader.events()) == 1
            with pytest.raises(StoreError, match="open for reading only"):
                reader.record_event(an_event())


def test_a_missing_store_is_not_made_by_a_reader(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        Store(path, read_only=True)
    assert not path.exists()


def test_a_store_of_a_newer_program_is_refused(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(StoreError, match="newer avdetect \\(schema 99"):
        Store(path)


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cookies (name TEXT)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match="of another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("not a database, but long enough to be taken for the header of one" * 4)

    with pytest.raises(StoreError, match="damaged or not a store"):
        Store(path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        Store(tmp_path / "nowhere" / "events.db")


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_rows(path: Path) -> None:
    with Store(path) as store:
        store.record_event(an_event())
    newer = (*MIGRATIONS, "ALTER TABLE events ADD COLUMN note TEXT NOT NULL DEFAULT ''")
    connection = sqlite3.connect(path, isolation_level=None)

    migrate(connection, path, newer)

    assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    assert connection.execute("SELECT note FROM events").fetchall() == [("",)]
    connection.close()


def test_a_step_that_fails_is_undone(path: Path) -> None:
    Store(path).close()
    broken = (*MIGRATIONS, "ALTER TABLE events ADD COLUMN note TEXT; SELECT * FROM nowhere")
    connection = sqlite3.connect(path, isolation_level=None)

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, broken)

    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    connection.close()


def test_a_clip_that_is_known_is_not_reported_again(path: Path) -> None:
    event = an_event(stage="closed")
    with Store(path) as store:
        store.record_event(event)
        for _ in range(2):
            store.attach_clip(event.id, "a.mp4", "a.jpg", ["hook"])
        store.attach_clip(event.id, "b.mp4", None, ["hook"])
        clips = [delivery.payload["clip"] for delivery in store.next_deliveries("hook")]

    assert clips == ["a.mp4", "b.mp4"]


def test_an_installation_has_an_identity_of_its_own(tmp_path: Path) -> None:
    identities = set()
    for name in ("a", "a", "b"):
        with Store(tmp_path / name) as store:
            identities.add(store.identity())

    assert len(identities) == 2


def test_chosen_thresholds_are_kept_until_they_are_taken_back(path: Path) -> None:
    with Store(path) as store:
        store.set_threshold("yard", "gunshot", 0.7)
        store.set_threshold("yard", "gunshot", 0.8)
        store.set_threshold("yard", "siren", 0.5)
    with Store(path) as store:
        assert store.thresholds("yard") == {"gunshot": 0.8, "siren": 0.5}
        store.set_threshold("yard", "gunshot", None)
        assert store.thresholds("yard") == {"siren": 0.5}
        assert store.thresholds("door") == {}
