from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from avdetect.errors import OutputError
from avdetect.events.event import FeedEvent
from avdetect.serve.store import Store
from avdetect.serve.store.retention import prune
from tests.synth.reports import NOON, a_gap, an_event

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "events.db") as store:
        yield store


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    return folder


def kept_event(store: Store, clips: Path, days_ago: float, *, num_bytes: int = 100_000, sink: str = "") -> FeedEvent:
    """A closed event with a clip of that size and a small thumbnail."""
    event = an_event(stage="closed", started_at=NOON - days_ago * DAY)
    store.record_event(event, [sink] if sink else [])
    (clips / f"{event.id}.mp4").write_bytes(bytes(num_bytes))
    (clips / f"{event.id}.jpg").write_bytes(bytes(10))
    attached = store.attach_clip(event.id, f"{event.id}.mp4", f"{event.id}.jpg")
    assert attached is not None
    return attached


def left(store: Store, clips: Path) -> set[str]:
    """Ids of the events that are left; their files, and no others, are there too."""
    ids = {event.id for event in store.events()}
    assert {path.stem for path in clips.iterdir()} == ids
    assert len(list(clips.iterdir())) == 2 * len(ids)
    return ids


def test_what_is_too_old_goes_with_its_files(store: Store, clips: Path) -> None:
    kept_event(store, clips, 8)
    new = kept_event(store, clips, 6)

    pruned = prune(store, clips, now=NOON, max_age=7 * DAY)

    assert left(store, clips) == {new.id}
    assert (pruned.num_events, pruned.num_orphans) == (1, 0)


def test_many_old_events_go_at_once(store: Store, clips: Path) -> None:
    for _ in range(120):
        store.record_event(an_event(stage="closed", started_at=NOON - 8 * DAY))

    assert prune(store, clips, now=NOON, max_age=7 * DAY).num_events == 120
    assert store.events() == []


def test_age_spares_what_is_open_undelivered_or_answered(store: Store, clips: Path) -> None:
    undelivered = kept_event(store, clips, 8, sink="hook")
    answered = kept_event(store, clips, 8)
    store.set_answer(answered.id, "dismissed")
    still_open = an_event(started_at=NOON - 8 * DAY)
    store.record_event(still_open)

    assert prune(store, clips, now=NOON, max_age=7 * DAY).num_events == 0
    assert {event.id for event in store.events()} == {undelivered.id, answered.id, still_open.id}


def test_old_gaps_go_unless_they_last_or_are_undelivered(store: Store, clips: Path) -> None:
    start = NOON - 9 * DAY
    store.record_gap(a_gap("over", started_at=start, ended_at=start + DAY))
    store.record_gap(a_gap("lasting", started_at=start))
    store.record_gap(a_gap("undelivered", started_at=start, ended_at=start + DAY), ["hook"])
    store.record_gap(a_gap("new", started_at=start, ended_at=NOON))

    assert prune(store, clips, now=NOON, max_age=7 * DAY).num_gaps == 1
    assert {gap.feed for gap in store.gaps()} == {"lasting", "undelivered", "new"}


def test_size_takes_the_oldest_first_and_no_more_than_needed(store: Store, clips: Path) -> None:
    events = [kept_event(store, clips, days_ago) for days_ago in (5, 4, 3, 2, 1)]
    max_bytes = store.size_bytes() + 250_000

    assert prune(store, clips, now=NOON, max_bytes=max_bytes).num_events == 3
    assert left(store, clips) == {event.id for event in events[3:]}
    assert prune(store, clips, now=NOON, max_bytes=max_bytes).num_events == 0


def test_size_takes_answered_events_after_others_and_undelivered_ones_at_last(
    store: Store, clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undelivered = kept_event(store, clips, 5, sink="hook")
    answered = kept_event(store, clips, 4)
    store.set_answer(answered.id, "confirmed")
    kept_event(store, clips, 3)
    base = store.size_bytes()

    prune(store, clips, now=NOON, max_bytes=base + 210_000)
    assert left(store, clips) == {undelivered.id, answered.id}
    prune(store, clips, now=NOON, max_bytes=base + 110_000)
    assert left(store, clips) == {undelivered.id}
    assert caplog.text == ""

    pruned = prune(store, clips, now=NOON, max_bytes=1)
    assert left(store, clips) == set()
    assert pruned.num_undelivered_events == 1
    assert store.backlog() == {}
    assert "events deleted before all sinks had them: 1" in caplog.text


def test_size_takes_the_gaps_before_the_events_that_it_takes(store: Store, clips: Path) -> None:
    store.record_gap(a_gap("old", started_at=NOON - 6 * DAY, ended_at=NOON - 6 * DAY))
    store.record_gap(a_gap("new", started_at=NOON - 3 * DAY, ended_at=NOON - 3 * DAY))
    kept_event(store, clips, 5)
    kept_event(store, clips, 2)

    prune(store, clips, now=NOON, max_bytes=store.size_bytes() + 150_000)

    assert [gap.feed for gap in store.gaps()] == ["new"]


def test_files_that_belong_to_no_event_go_when_nobody_can_be_writing_them(store: Store, clips: Path) -> None:
    def made(name: str, age_s: float) -> Path:
        path = clips / name
        path.write_bytes(b"x")
        os.utime(path, (NOON.timestamp() - age_s, NOON.timestamp() - age_s))
        return path

    orphan = made(f"{uuid.uuid4()}.mp4", 7200)
    unfinished = made(f".{uuid.uuid4()}.mp4.x1y2.mp4", 7200)
    being_written = made(f"{uuid.uuid4()}.mp4", 60)
    foreign = made("holiday.mp4", 7200)
    kept = kept_event(store, clips, 1)
    for path in clips.glob(f"{kept.id}*"):
        os.utime(path, (0, 0))

    assert prune(store, clips, now=NOON).num_orphans == 2
    assert not orphan.exists()
    assert not unfinished.exists()
    assert being_written.exists()
    assert foreign.exists()
    assert (clips / f"{kept.id}.mp4").exists()


def test_room_is_given_back_to_the_disk(store: Store, clips: Path) -> None:
    for _ in range(300):
        event = an_event(stage="closed", started_at=NOON - 8 * DAY)
        store.record_event(event)
        store.attach_clip(event.id, "x" * 20_000, None)
    store.shrink()
    before = store.path.stat().st_size

    prune(store, clips, now=NOON, max_age=7 * DAY)

    assert store.path.stat().st_size < before / 4


def test_a_folder_of_clips_that_does_not_exist_yet_is_empty(store: Store, tmp_path: Path) -> None:
    store.record_event(an_event(stage="closed", started_at=NOON - 8 * DAY))

    assert prune(store, tmp_path / "nowhere", now=NOON, max_age=7 * DAY, max_bytes=10**9).num_events == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_deleted(store: Store, clips: Path) -> None:
    kept_event(store, clips, 8)
    clips.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OutputError, match="its permissions forbid it"):
            prune(store, clips, now=NOON, max_age=7 * DAY)
        assert len(store.events()) == 1
    finally:
        clips.chmod(stat.S_IRWXU)


def test_a_folder_of_clips_that_is_none_is_named_and_nothing_is_deleted(store: Store, tmp_path: Path) -> None:
    store.record_event(an_event(stage="closed", started_at=NOON - 8 * DAY))
    (tmp_path / "clips").touch()

    with pytest.raises(OutputError, match="cannot look for old clips in .*clips: Not a directory"):
        prune(store, tmp_path / "clips", now=NOON, max_age=7 * DAY)
    assert len(store.events()) == 1
