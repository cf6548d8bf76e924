"""What the engine reports, all the way into the store; a full disk comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from avdetect.errors import StoreError
from avdetect.events.event import Event, FeedEvent, FeedGap, SnippetScore
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.feeds.listener import ClipReady, FeedStatus, ScoredSnippet
from avdetect.serve.feeds.track import NOT_RUNNING, NOT_WATCHED
from avdetect.serve.reporter import Reporter
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.store import Store
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.state import ServiceState
from avdetect.timebase import Span

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
EVENT = FeedEvent(
    id="0b0f2b3c-6f0c-4f0e-9e5e-0d9a8a3e7c11",
    feed="door",
    stage="opened",
    event=Event("siren", 1.0, 2.0, 1.5, 0.9, "audio"),
    started_at=NOW,
    ended_at=NOW + timedelta(seconds=1),
    peak_at=NOW,
)
GAP = FeedGap("door", "stalled", "Nothing came.", 5.0, NOW)


class FullStore(Store):
    """On a disk that can be full."""

    full = False

    def record_event(self, event: FeedEvent, sinks: object = ()) -> None:
        if self.full:
            raise StoreError("the disk is full.")
        super().record_event(event)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FullStore]:
    with FullStore(tmp_path / "events.sqlite3") as opened:
        yield opened


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def state() -> ServiceState:
    return ServiceState(read_manifest(default_bundle_path()))


@pytest.fixture
def reporter(store: FullStore, metrics: Metrics, state: ServiceState) -> Iterator[Reporter]:
    with Dispatcher(store, []) as dispatcher:
        yield Reporter(store, dispatcher, metrics, state, lambda feed, event: (), retry_interval_s=0.0)


def test_a_gap_ends_in_the_store_where_it_began(reporter: Reporter, store: FullStore) -> None:
    reporter.on_gap(GAP)
    reporter.on_gap_end(replace(GAP, ended_at=NOW + timedelta(seconds=9), num_dropped_snippets=4))

    [kept] = store.gaps()
    assert (kept.ended_at, kept.num_dropped_snippets) == (NOW + timedelta(seconds=9), 4)


def test_what_a_full_disk_could_not_take_is_stored_later_and_in_order(reporter: Reporter, store: FullStore) -> None:
    store.full = True
    reporter.on_event(EVENT)
    reporter.on_event(replace(EVENT, stage="closed"))
    reporter.on_gap(GAP)
    assert store.events() == []

    store.full = False
    reporter.on_turn()

    assert [event.stage for event in store.events()] == ["closed"]
    assert len(store.gaps()) == 1


def test_the_whole_clip_takes_the_place_of_the_early_one(reporter: Reporter, store: FullStore, tmp_path: Path) -> None:
    early, whole = tmp_path / f"{EVENT.id}-early.mp4", tmp_path / f"{EVENT.id}.mp4"
    for path in (early, whole):
        path.touch()
    reporter.on_event(EVENT)
    reporter.on_clip(ClipReady("door", EVENT.id, early, None, early=True))
    assert store.events()[0].clip == early.name

    reporter.on_clip(ClipReady("door", EVENT.id, whole, None))

    assert store.events()[0].clip == whole.name
    assert not early.exists()


def gaps_of(store: Store) -> list[tuple[str, datetime, datetime | None]]:
    return [(gap.reason, gap.started_at, gap.ended_at) for gap in reversed(store.gaps())]


def test_the_time_between_two_runs_is_a_gap_from_where_the_feed_was_seen_last(
    reporter: Reporter, store: FullStore
) -> None:
    store.note_watched({"door": NOW, "removed": NOW}, NOW)

    gaps = reporter.resume(["door", "new"])
    assert gaps.keys() == {"door"}
    assert gaps_of(store) == [(NOT_RUNNING, NOW, None)]

    reporter.on_gap_end(replace(gaps["door"], ended_at=NOW + timedelta(hours=1)))
    assert gaps_of(store) == [(NOT_RUNNING, NOW, NOW + timedelta(hours=1))]


def test_a_run_that_saw_nothing_does_not_divide_the_gap(reporter: Reporter, store: FullStore) -> None:
    store.note_watched({"door": NOW}, NOW)
    reporter.resume(["door"])

    gaps = reporter.resume(["door"])
    assert gaps_of(store) == [(NOT_RUNNING, NOW, None)]

    reporter.on_gap_end(replace(gaps["door"], ended_at=NOW + timedelta(hours=1)))
    assert gaps_of(store) == [(NOT_RUNNING, NOW, NOW + timedelta(hours=1))]


def test_what_was_not_seen_when_the_service_died_is_one_gap_after_the_other(
    reporter: Reporter, store: FullStore
) -> None:
    died = NOW + timedelta(minutes=1)
    store.record_gap(GAP)
    store.note_watched({"door": died}, died)

    reporter.resume(["door"])

    assert gaps_of(store) == [("stalled", NOW, died), (NOT_RUNNING, died, None)]


def test_a_feed_is_noted_as_seen_up_to_its_last_score_and_while_it_is_in_a_gap_up_to_now(
    reporter: Reporter, store: FullStore, state: ServiceState
) -> None:
    running = FeedStatus("door", "running", NOW)
    state.set_feed(running, ["siren"])
    nothing = np.zeros(len(state.classes), np.float32)
    score = SnippetScore(0, Span(0.0, 0.64), nothing, nothing, nothing, True, True)
    reporter.on_score(ScoredSnippet("door", score, NOW.timestamp(), latency_s=1.0, compute_s=0.1))
    assert store.watched() == {"door": NOW}  # the first score is noted at once

    later = NOW + timedelta(seconds=3)
    reporter.on_score(ScoredSnippet("door", score, later.timestamp(), latency_s=1.0, compute_s=0.1))
    reporter.note_watched()
    assert store.watched() == {"door": later}

    before = datetime.now(UTC)
    reporter.on_gap(GAP)
    reporter.on_state(replace(running, state="waiting"))
    reporter.note_watched()
    assert before <= store.watched()["door"] <= datetime.now(UTC)

    seen_last = store.watched()
    state.remove_feed("door")
    reporter.note_watched()
    assert store.watched() == seen_last  # from there on it was not watched

    state.set_feed(running, ["siren"])
    reporter.on_state(replace(running, state="ended"))
    reporter.note_watched()
    assert store.watched() == {}  # there is nothing more to be watched


def test_time_that_nobody_watched_while_the_service_ran_is_told_apart(reporter: Reporter, store: FullStore) -> None:
    store.note_watched({"door": NOW, "gate": NOW}, NOW)
    stopped = NOW + timedelta(hours=2)
    store.note_watched({"gate": stopped}, stopped)  # the door was taken out of the configuration

    reporter.resume(["door"])

    assert gaps_of(store) == [(NOT_WATCHED, NOW, stopped), (NOT_RUNNING, stopped, None)]


def test_a_feed_that_comes_back_while_the_service_runs_was_not_watched_meanwhile(
    reporter: Reporter, store: FullStore
) -> None:
    assert reporter.take_up("door") is None

    store.note_watched({"door": NOW}, NOW)
    gap = reporter.take_up("door")

    assert gap is not None
    assert (gap.reason, gap.started_at, gap.ended_at) == (NOT_WATCHED, NOW, None)


def test_a_full_disk_is_told_and_what_is_new_is_shown_all_the_same(
    reporter: Reporter, store: FullStore, state: ServiceState, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    state.set_ready(True)
    reporter.on_event(EVENT)
    store.full = True
    for _ in range(3):
        reporter.on_event(replace(EVENT, stage="updated"))
    reporter.on_event(replace(EVENT, stage="closed"))

    assert not state.ready()
    assert state.trouble() == "The disk is full. 4 reports wait in memory."
    assert state.unstored()[EVENT.id].stage == "closed"
    text = metrics.render()[0].decode()
    assert "avdetect_store_writable 0.0" in text
    assert "avdetect_unstored_reports 4.0" in text
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["the disk is full."]

    store.full = False
    reporter.on_turn()

    assert state.ready()
    assert state.trouble() == ""
    assert state.unstored() == {}
    assert "avdetect_store_writable 1.0" in metrics.render()[0].decode()


def test_of_too_many_reports_those_are_lost_that_later_ones_make_needless(
    reporter: Reporter, store: FullStore, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avdetect.serve.reporter._MAX_UNSTORED", 3)
    store.full = True
    for stage in ("opened", "updated", "updated", "updated", "closed"):
        reporter.on_event(replace(EVENT, stage=stage))
    store.full = False
    reporter.on_turn()

    assert [event.stage for event in store.events()] == ["closed"]
    assert "avdetect_lost_reports_total 2.0" in metrics.render()[0].decode()


def test_a_clip_that_is_lost_is_reported(reporter: Reporter, store: FullStore, metrics: Metrics) -> None:
    reporter.on_event(EVENT)
    reporter.on_clip(ClipReady("door", EVENT.id, None, None, "The clip is lost: no space."))

    assert store.events()[0].clip_failure == "The clip is lost: no space."
    assert 'avdetect_lost_clips_total{feed="door"} 1.0' in metrics.render()[0].decode()


def test_a_sink_that_heard_of_an_event_hears_of_its_end_whatever_it_has_become(
    store: FullStore, tmp_path: Path
) -> None:
    """It was heard only, then seen too: the sink that wants what was heard must not wait for its end for ever."""

    def sinks_of(feed: str, event: FeedEvent | None) -> tuple[str, ...]:
        return ("phone",) if event is None or event.event.modality == "audio" else ()

    state = ServiceState(read_manifest(default_bundle_path()))
    with Store(tmp_path / "other.sqlite3") as kept, Dispatcher(kept, []) as dispatcher:
        reporter = Reporter(kept, dispatcher, Metrics(), state, sinks_of)
        reporter.on_event(EVENT)
        reporter.on_event(replace(EVENT, stage="closed", event=replace(EVENT.event, modality="both")))
        seen = replace(EVENT, id="seen", event=replace(EVENT.event, modality="visual"))
        reporter.on_event(seen)
        delivered = [(each.payload["id"], each.payload["stage"]) for each in kept.next_deliveries("phone")]

    assert delivered == [(EVENT.id, "opened"), (EVENT.id, "closed")]


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ((False, True), "door: has no sound: what can only be heard is not found"),
        ((True, False), "door: has no picture: what can only be seen is not found"),
    ],
)
def test_a_feed_without_sound_or_picture_says_so_once(
    reporter: Reporter, caplog: pytest.LogCaptureFixture, streams: tuple[bool, bool], said: str
) -> None:
    status = FeedStatus("door", "running", NOW, has_audio=streams[0], has_video=streams[1])
    for state in ("running", "waiting", "running", "waiting", "running"):
        reporter.on_state(replace(status, state=state))

    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [said]
    reporter.on_state(replace(status, has_audio=True, has_video=True))
    reporter.on_state(status)
    assert sum(record.getMessage() == said for record in caplog.records) == 2


def test_why_a_feed_cannot_be_reached_is_in_the_log_in_full_whenever_it_changes(
    reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    status = FeedStatus("door", "waiting", NOW)
    reporter.on_gap(replace(GAP, message="rtsp://cam/1: cannot be opened as media: Connection refused."))
    reporter.on_state(replace(status, message="rtsp://cam/1: cannot be opened as media: Connection refused."))
    reporter.on_state(replace(status, message="rtsp://cam/1: cannot be opened as media: 404 Not Found."))
    reporter.on_state(replace(status, message="rtsp://cam/1: cannot be opened as media: 404 Not Found."))

    said = [record.getMessage() for record in caplog.records if "opened as media" in record.getMessage()]
    assert [text.rpartition(": ")[2] for text in said] == ["Connection refused.", "404 Not Found."]


def test_reconnects_and_drops_are_counted(reporter: Reporter, metrics: Metrics, state: ServiceState) -> None:
    status = FeedStatus("door", "running", NOW)
    state.set_feed(status, ["siren"])
    reporter.on_state(status)
    reporter.on_state(replace(status, num_reconnects=1, num_dropped_snippets=5))
    reporter.on_event(EVENT)

    text = metrics.render()[0].decode()
    assert 'avdetect_reconnects_total{feed="door"} 1.0' in text
    assert 'avdetect_dropped_snippets_total{feed="door"} 5.0' in text
    assert 'avdetect_events_total{class="siren",feed="door"} 1.0' in text
    assert state.feeds()[0].status.num_dropped_snippets == 5

    reporter.on_state(replace(status, state="stopped"))
    assert 'feed="door"' not in metrics.render()[0].decode()
