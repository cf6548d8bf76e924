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
from avdetect.serve.reporter import NOT_RUNNING, Reporter
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
        yield Reporter(store, dispatcher, metrics, state, lambda _: (), retry_interval_s=0.0)


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
    store.note_watched({"door": NOW, "removed": NOW})

    gaps = reporter.resume(["door", "new"])
    assert gaps.keys() == {"door"}
    assert gaps_of(store) == [(NOT_RUNNING, NOW, None)]

    reporter.on_gap_end(replace(gaps["door"], ended_at=NOW + timedelta(hours=1)))
    assert gaps_of(store) == [(NOT_RUNNING, NOW, NOW + timedelta(hours=1))]


def test_a_run_that_saw_nothing_does_not_divide_the_gap(reporter: Reporter, store: FullStore) -> None:
    store.note_watched({"door": NOW})
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
    store.note_watched({"door": died})

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

    state.remove_feed("door")
    reporter.note_watched()
    assert store.watched() == {}


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
