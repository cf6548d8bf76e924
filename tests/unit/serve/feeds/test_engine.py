"""The engine, with real processes that send the snippets of real files."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import avdetect
from avdetect.events.event import FeedEvent, FeedGap, SnippetScore
from avdetect.manifest import EventRule
from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.pipeline import ScoreResult, score
from avdetect.serve.feeds.engine import Engine
from avdetect.serve.feeds.listener import EngineListener, FeedStatus, ScoredSnippet
from avdetect.serve.feeds.live_feed import EngineOptions, FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress, FeedTarget, run_feed
from tests.unit.serve.feeds import children

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
DEADLINE_S = 180.0
QUICK = EngineOptions(first_restart_s=0.05, stop_within_s=2.0, update_interval_s=1.0)


class Recorder(EngineListener):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self.gaps: list[FeedGap] = []
        self.ended_gaps: list[FeedGap] = []
        self.scores: list[SnippetScore] = []
        self.states: list[FeedStatus] = []
        self.turned = threading.Condition()

    def on_event(self, event: FeedEvent) -> None:
        self.events.append(event)

    def on_gap(self, gap: FeedGap) -> None:
        self.gaps.append(gap)

    def on_gap_end(self, gap: FeedGap) -> None:
        self.ended_gaps.append(gap)

    def on_score(self, scored: ScoredSnippet) -> None:
        self.scores.append(scored.score)

    def on_state(self, status: FeedStatus) -> None:
        self.states.append(status)

    def on_turn(self) -> None:
        with self.turned:
            self.turned.notify_all()

    def wait_for(self, what: Callable[[], Any]) -> None:
        with self.turned:
            assert self.turned.wait_for(what, DEADLINE_S), (self.states, self.gaps)

    def stages(self, label: str) -> list[str]:
        return [event.stage for event in self.events if event.event.class_name == label]

    def closed(self) -> list[FeedEvent]:
        return [event for event in self.events if event.stage == "closed"]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(device="cpu")


@pytest.fixture(scope="module")
def played(bundle: Bundle) -> Recorder:
    """What the engine says of the demo clip."""
    return play(bundle, children.play, spec(bundle))


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> ScoreResult:
    """What `score` says of the demo clip."""
    return score(DEMO, bundle=bundle, rules=rules(bundle))


def rules(bundle: Bundle) -> tuple[EventRule, ...]:
    """The bundle's, but for thresholds that only the shots and the siren of the clip stay above for seconds."""
    heard, never = {"on": 0.05, "off": 0.03}, {"on": 1.0, "off": 1.0}
    return tuple(
        entry.rule.model_copy(update=heard if entry.name in ("gunshot", "siren") else never)
        for entry in bundle.manifest.classes
    )


def spec(
    bundle: Bundle, name: str = "demo", *, url: str = str(DEMO), ends: bool = True, marker: Path | None = None
) -> FeedSpec:
    told = {} if marker is None else {"marker": str(marker)}
    options = LiveOptions(realtime=ends, loop=not ends, open_timeout_s=0.1, stall_timeout_s=0.1, ffmpeg_options=told)
    return FeedSpec(name, FeedAddress(url, options), rules(bundle))


def play(bundle: Bundle, target: FeedTarget, *specs: FeedSpec) -> Recorder:
    """Run feeds to their own end."""
    recorder = Recorder()
    engine = Engine(bundle, recorder, QUICK, target=target)
    for one in specs:
        engine.add(one)
    watchdog = threading.Timer(DEADLINE_S, engine.abort)
    watchdog.start()
    engine.run(until_all_over=True)
    watchdog.cancel()
    watchdog.join()
    assert recorder.states[-1].state == "ended"
    return recorder


@contextmanager
def running(
    bundle: Bundle,
    target: FeedTarget,
    *specs: FeedSpec,
    options: EngineOptions = QUICK,
    recorder: Recorder | None = None,
) -> Iterator[tuple[Engine, Recorder]]:
    """Run feeds beside the test."""
    recorder = recorder or Recorder()
    engine = Engine(bundle, recorder, options, target=target)
    thread = threading.Thread(target=engine.run)
    thread.start()
    for one in specs:
        engine.add(one)
    try:
        yield engine, recorder
    finally:
        engine.abort()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_a_feed_has_the_scores_and_events_of_the_file(played: Recorder, expected: ScoreResult) -> None:
    np.testing.assert_allclose([row.scores for row in played.scores], expected.curve.scores, atol=1e-4)
    found = sorted((event.event for event in played.closed()), key=lambda event: (event.start_s, event.class_name))
    assert [(event.class_name, event.start_s, event.end_s) for event in found] == [
        (event.class_name, event.start_s, event.end_s) for event in expected.events
    ]
    assert not any(event.interrupted for event in played.closed())
    assert not played.gaps


def test_an_event_is_opened_updated_and_closed_under_one_id(played: Recorder) -> None:
    first, *between, last = played.stages("siren")
    assert (first, set(between), last) == ("opened", {"updated"}, "closed")
    assert len({event.id for event in played.events if event.event.class_name == "siren"}) == 1
    assert len({event.id for event in played.events}) == 2


def test_wall_clock_time_runs_beside_media_time(played: Recorder) -> None:
    for event in played.closed():
        assert event.started_at == datetime.fromtimestamp(children.ORIGIN_UNIX_S + event.event.start_s, UTC)
        assert event.peak_at == datetime.fromtimestamp(children.ORIGIN_UNIX_S + event.event.peak_s, UTC)


def test_feeds_side_by_side_have_the_events_that_each_has_alone(bundle: Bundle, expected: ScoreResult) -> None:
    recorder = play(bundle, children.play, *(spec(bundle, name) for name in ("a", "b", "c")))

    for name in ("a", "b", "c"):
        starts = {(event.event.class_name, event.event.start_s) for event in recorder.closed() if event.feed == name}
        assert starts == {(event.class_name, event.start_s) for event in expected.events}


def test_a_lost_feed_closes_its_open_event_as_interrupted_and_marks_the_gap(bundle: Bundle) -> None:
    with running(bundle, children.play_and_lose, spec(bundle, ends=False)) as (_, recorder):
        recorder.wait_for(lambda: recorder.gaps)

    [closed] = recorder.closed()
    assert (closed.event.class_name, closed.event.end_s, closed.interrupted) == ("gunshot", pytest.approx(8.96), True)
    [gap] = recorder.gaps
    assert (gap.reason, gap.start_s, gap.ended_at) == ("stalled", pytest.approx(8.96), None)
    assert gap.started_at.timestamp() == pytest.approx(children.ORIGIN_UNIX_S + 8.96)
    assert recorder.states[-1].state == "waiting"
    assert recorder.states[-1].message == "Nothing came for 5 s."


def test_dropped_snippets_end_events_and_are_counted(bundle: Bundle) -> None:
    recorder = play(bundle, children.play_with_drops, spec(bundle))

    [gap] = recorder.gaps
    assert (gap.reason, gap.num_dropped_snippets, gap.start_s) == ("dropped", 2, pytest.approx(12 * 0.64))
    assert recorder.ended_gaps[0].ended_at is not None
    assert recorder.closed()[0].interrupted
    assert recorder.closed()[0].event.end_s == pytest.approx(12 * 0.64)
    assert {row.index for row in recorder.scores}.isdisjoint({12, 13})
    assert recorder.states[-1].num_dropped_snippets == 2


def test_stopping_closes_open_events(bundle: Bundle) -> None:
    with running(bundle, children.play_and_wait, spec(bundle, ends=False)) as (engine, recorder):
        recorder.wait_for(lambda: recorder.stages("gunshot") == ["opened"])
        engine.stop()
        recorder.wait_for(lambda: recorder.states[-1].state == "stopped")

    assert recorder.stages("gunshot")[-1] == "closed"
    assert recorder.closed()[0].interrupted


def test_a_process_that_crashes_is_started_again_and_the_others_do_not_notice(
    bundle: Bundle, tmp_path: Path, expected: ScoreResult
) -> None:
    crashed = tmp_path / "crashed"
    steady = tmp_path / "steady"
    steady.touch()
    recorder = play(
        bundle, children.crash_once, spec(bundle, "shaky", marker=crashed), spec(bundle, "steady", marker=steady)
    )

    [gap] = recorder.gaps
    assert (gap.feed, gap.reason) == ("shaky", "crashed")
    assert "signal 9" in gap.message
    assert [over.feed for over in recorder.ended_gaps] == ["shaky"]
    for name in ("shaky", "steady"):
        assert [event.event.class_name for event in recorder.closed() if event.feed == name] == [
            event.class_name for event in expected.events
        ]
    assert max(status.num_reconnects for status in recorder.states if status.feed == "shaky") == 1


def test_stopping_ends_the_gap_of_a_feed_whose_process_is_not_there(bundle: Bundle, tmp_path: Path) -> None:
    options = EngineOptions(first_restart_s=60.0)
    shaky = spec(bundle, "shaky", ends=False, marker=tmp_path / "crashed")
    with running(bundle, children.crash_once, shaky, options=options) as (engine, recorder):
        recorder.wait_for(lambda: recorder.gaps)
        engine.stop()
        recorder.wait_for(lambda: recorder.states[-1].state == "stopped")

    assert [gap.reason for gap in recorder.ended_gaps] == ["crashed"]


def test_a_process_that_ran_well_is_started_again_soon_however_often_it_crashes(bundle: Bundle) -> None:
    """Sixteen times, which would take minutes if each wait were twice as long as the one before."""
    options = EngineOptions(first_restart_s=0.01, recovered_after_s=0.0)
    with running(bundle, children.crash, spec(bundle, ends=False), options=options) as (_, recorder):
        recorder.wait_for(lambda: [status.state for status in recorder.states].count("restarting") == 16)


def test_a_process_that_hangs_is_killed_and_started_again(bundle: Bundle) -> None:
    options = EngineOptions(hang_after_s=2.0, first_restart_s=0.05)
    with running(bundle, children.hang, spec(bundle, ends=False), options=options) as (_, recorder):
        recorder.wait_for(lambda: [status.state for status in recorder.states].count("running") == 2)

    assert [gap.reason for gap in recorder.gaps] == ["hung"]


def test_what_a_process_could_not_handle_is_logged_without_credentials(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    url = "rtsp://user:hunter2@camera/1"
    with running(bundle, children.raise_with_password, spec(bundle, url=url, ends=False)) as (_, recorder):
        recorder.wait_for(lambda: recorder.gaps)

    assert "cannot open rtsp://***@camera/1" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_a_process_logs_is_logged_under_the_name_of_its_feed(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with running(bundle, children.log_and_wait, spec(bundle, "door", ends=False)) as (_, recorder):
        recorder.wait_for(lambda: caplog.messages)

    [record] = caplog.records
    assert (record.getMessage(), record.levelname) == ("door: its timestamps jump", "WARNING")


def test_a_feed_can_be_replaced_and_removed_while_others_run(bundle: Bundle) -> None:
    with running(
        bundle, children.play_and_wait, spec(bundle, "stays", ends=False), spec(bundle, "goes", ends=False)
    ) as (
        engine,
        recorder,
    ):

        def num_running(feed: str) -> int:
            return [status.state for status in recorder.states if status.feed == feed].count("running")

        recorder.wait_for(lambda: num_running("stays") == num_running("goes") == 1)
        elsewhere = spec(bundle, "goes", ends=False)
        engine.add(replace(elsewhere, address=replace(elsewhere.address, options=LiveOptions(stall_timeout_s=9.0))))
        recorder.wait_for(lambda: num_running("goes") == 2)
        gap, ended = recorder.gaps[0], recorder.ended_gaps[0]
        engine.remove("goes")
        recorder.wait_for(lambda: recorder.states[-1].state == "stopped")

    assert num_running("stays") == 1
    assert (gap.feed, gap.reason) == (ended.feed, ended.reason) == ("goes", "reconfigured")
    lasts_until = children.ORIGIN_UNIX_S + 14 * float(bundle.manifest.hop)
    assert gap.started_at.timestamp() == pytest.approx(lasts_until)


def num_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_behind(bundle: Bundle, tmp_path: Path) -> None:
    play(bundle, children.play, spec(bundle))  # what is opened once stays
    threads, descriptors = threading.active_count(), num_descriptors()

    play(bundle, children.crash_once, spec(bundle, marker=tmp_path / "crashed"))
    with running(bundle, children.hang, spec(bundle, ends=False)) as (_, recorder):
        recorder.wait_for(lambda: recorder.states and recorder.states[-1].state == "running")

    assert threading.active_count() == threads
    assert num_descriptors() == descriptors
    assert multiprocessing.active_children() == []


def test_a_plain_file_is_watched_once_and_each_of_its_events_reported_once(bundle: Bundle) -> None:
    feed = FeedSpec("file", FeedAddress(str(DEMO), LiveOptions()), rules(bundle))
    recorder = play(bundle, run_feed, feed)
    assert recorder.states[-1].num_reconnects == 0
    assert not recorder.gaps
    closed = [(event.event.class_name, event.event.start_s) for event in recorder.closed()]
    assert closed
    assert len(set(closed)) == len(closed)
