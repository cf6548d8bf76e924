"""What live feeds go through: real sources, real processes, the engine with the embedded bundle."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import pytest

from avdetect.manifest import EventRule
from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.clip_requests import ClipOptions
from avdetect.serve.feeds.listener import ClipReady, ScoredSnippet
from avdetect.serve.feeds.live_feed import EngineOptions, FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress, run_feed
from tests.synth import feeds
from tests.synth.media import MediaFactory
from tests.unit.serve.feeds import test_engine

LENGTH_S = 3.0
OPTIONS = LiveOptions(open_timeout_s=2, stall_timeout_s=2, max_backoff_s=1)
ENGINE = EngineOptions(hang_after_s=2.0, first_restart_s=0.05)
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "4", "-g", "12")
ALWAYS = EventRule(on=0.0, off=0.0, merge_gap_s=0.0)


class Recorder(test_engine.Recorder):
    """Keeps clips and scores of each feed, too."""

    def __init__(self) -> None:
        super().__init__()
        self.scored: list[ScoredSnippet] = []
        self.clips: list[ClipReady] = []

    def on_score(self, scored: ScoredSnippet) -> None:
        self.scored.append(scored)

    def on_clip(self, clip: ClipReady) -> None:
        self.clips.append(clip)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(device="cpu")


@pytest.fixture(scope="module")
def clip(media: MediaFactory) -> Path:
    return media.flash_and_tone("live.ts", duration_s=LENGTH_S)


@contextmanager
def watching(bundle: Bundle, *specs: FeedSpec) -> Iterator[Recorder]:
    recorder = Recorder()
    with test_engine.running(bundle, run_feed, *specs, options=ENGINE, recorder=recorder):
        yield recorder


def spec(bundle: Bundle, name: str, url: str, clips: Path | None = None, options: LiveOptions = OPTIONS) -> FeedSpec:
    """Of all classes only the first is wanted, and that is always there: a stretch is an event."""
    rules = (ALWAYS, *[None] * (len(bundle.manifest.classes) - 1))
    wanted = None if clips is None else ClipOptions(clips, pre_roll_s=0.0, post_roll_s=0.0)
    return FeedSpec(name, FeedAddress(url, options), rules, wanted)


def over_and_over(*stretches: tuple[bytes, float]) -> feeds.Play:
    """Each connection gets one of these, sent within so many seconds, the last of them again and again."""

    def play(connection: socket.socket, number: int) -> None:
        feeds.send_in_time(connection, *stretches[min(number, len(stretches) - 1)])

    return play


def lengths_s(clip: Path) -> tuple[float, float]:
    """Of the pictures and of the sound that can be decoded."""
    num_pictures = num_samples = 0
    with av.open(str(clip)) as container:
        for packet in container.demux():
            with suppress(av.FFmpegError):
                for frame in packet.decode():
                    num_pictures += isinstance(frame, av.VideoFrame)
                    num_samples += frame.samples if isinstance(frame, av.AudioFrame) else 0
    return num_pictures / 25, num_samples / 48_000


def pid_of(feed: str) -> int:
    [process] = [child for child in multiprocessing.active_children() if child.name == f"avdetect-{feed}"]
    assert process.pid is not None
    return process.pid


@pytest.mark.parametrize(
    ("name", "making"),
    [
        ("trouble-mp2.ts", {"audio": ("-c:a", "mp2")}),
        pytest.param("trouble-mpeg2.ts", {"video": MPEG2}, marks=pytest.mark.slow),
        pytest.param("trouble-size.ts", {"size": "320x240"}, marks=pytest.mark.slow),
    ],
)
def test_what_changes_on_the_same_pids_is_a_gap_and_goes_on_as_what_it_is_now(
    bundle: Bundle, media: MediaFactory, clip: Path, tmp_path: Path, name: str, making: dict[str, Any]
) -> None:
    options = ("-output_ts_offset", str(LENGTH_S))
    other = media.flash_and_tone(name, duration_s=2 * LENGTH_S, options=options, **making).read_bytes()
    play = over_and_over((clip.read_bytes() + other, 3 * LENGTH_S), (other, 2 * LENGTH_S))
    with feeds.tcp_server(play) as url, watching(bundle, spec(bundle, "door", url, tmp_path)) as recorder:
        recorder.wait_for(lambda: len(recorder.closed()) >= 2)
        wanted = {event.id for event in recorder.closed()[:2]}
        recorder.wait_for(lambda: {ready.event_id for ready in recorder.clips} >= wanted)

    gap, *_ = recorder.ended_gaps
    before, after, *_ = recorder.closed()
    assert (gap.reason, before.interrupted) == ("format-change", True)
    assert gap.ended_at is not None
    assert before.ended_at <= gap.started_at <= gap.ended_at
    lengths = {ready.event_id: lengths_s(ready.clip) for ready in recorder.clips if ready.clip is not None}
    assert min(lengths[before.id]) > LENGTH_S - 0.5
    assert min(lengths[after.id]) > 2 * LENGTH_S - 0.5


def test_sound_that_vanishes_and_returns_is_no_gap(bundle: Bundle, media: MediaFactory) -> None:
    silent_between = "aselect='not(between(t,1,3.5))'"
    path = media.flash_and_tone("vanishing.ts", duration_s=5.0, audio_filter=silent_between)
    play = over_and_over((path.read_bytes(), 5.0))
    with feeds.tcp_server(play) as url, watching(bundle, spec(bundle, "door", url)) as recorder:
        recorder.wait_for(lambda: recorder.gaps)

    heard = [scored.score.audio_present for scored in recorder.scored]
    assert (heard[0], heard[3:5], heard[6]) == (True, [False, False], True)
    assert all(scored.score.visual_present for scored in recorder.scored)
    [event] = recorder.closed()
    assert event.event.end_s == pytest.approx(5.0, abs=0.2)
    assert recorder.gaps[0].reason == "ended"


def test_a_counter_that_wraps_is_in_one_event_and_in_one_clip(
    bundle: Bundle, media: MediaFactory, clip: Path, tmp_path: Path
) -> None:
    wrap_s = 2**33 / 90_000
    offset = ("-muxdelay", "0", "-output_ts_offset", str(wrap_s - 1.5))
    path = media.ffmpeg("trouble-wrapping.ts", "-i", clip, "-c", "copy", *offset)
    play = over_and_over((path.read_bytes(), LENGTH_S))
    with feeds.tcp_server(play) as url, watching(bundle, spec(bundle, "door", url, tmp_path)) as recorder:
        recorder.wait_for(lambda: recorder.clips)

    event, *_ = recorder.closed()
    [ready, *_] = recorder.clips
    assert event.event.end_s == pytest.approx(LENGTH_S, abs=0.2)
    assert ready.clip is not None
    assert lengths_s(ready.clip) == pytest.approx((LENGTH_S, LENGTH_S), abs=0.3)


def test_a_process_that_is_stopped_is_killed_and_the_others_do_not_notice(bundle: Bundle, clip: Path) -> None:
    long = LiveOptions(realtime=True, loop=True, open_timeout_s=1, stall_timeout_s=1)
    with watching(bundle, *(spec(bundle, name, str(clip), options=long) for name in ("door", "gate"))) as recorder:
        recorder.wait_for(lambda: {scored.feed for scored in recorder.scored} == {"door", "gate"})
        os.kill(pid_of("door"), signal.SIGSTOP)
        recorder.wait_for(lambda: recorder.ended_gaps)

    [gap] = recorder.gaps
    assert (gap.feed, gap.reason) == ("door", "hung")
    indices = [scored.score.index for scored in recorder.scored if scored.feed == "gate"]
    assert indices == list(range(len(indices)))
    assert max(scored.compute_s for scored in recorder.scored if scored.feed == "gate") < 2.0


def test_an_engine_that_was_stopped_itself_takes_no_process_to_hang(bundle: Bundle, clip: Path) -> None:
    """As when a machine, or a container, is paused."""
    resumed = threading.Event()

    class Paused(Recorder):
        def on_score(self, scored: ScoredSnippet) -> None:
            super().on_score(scored)
            if len(self.scored) == 1:
                os.kill(pid_of("door"), signal.SIGSTOP)
                time.sleep(ENGINE.hang_after_s + 2.0)
                threading.Timer(0.7, lambda: (os.kill(pid_of("door"), signal.SIGCONT), resumed.set())).start()

    recorder = Paused()
    playing = LiveOptions(realtime=True, loop=True, open_timeout_s=0.5, stall_timeout_s=0.5)
    feed = spec(bundle, "door", str(clip), options=playing)
    with test_engine.running(bundle, run_feed, feed, options=ENGINE, recorder=recorder):
        recorder.wait_for(lambda: resumed.is_set() and len(recorder.scored) >= 3)

    assert "hung" not in [gap.reason for gap in recorder.gaps]


def test_a_source_that_never_answers_is_given_up_with_its_process(bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    """Opening a FIFO that nobody writes to cannot be interrupted."""
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    hanging = LiveOptions(realtime=True, open_timeout_s=0.5, stall_timeout_s=0.5)
    with watching(bundle, spec(bundle, "door", str(fifo), options=hanging)) as recorder:
        recorder.wait_for(lambda: recorder.gaps)
        recorder.wait_for(lambda: [status.state for status in recorder.states].count("connecting") == 1)

    assert [(gap.feed, gap.reason) for gap in recorder.gaps] == [("door", "hung")]
