"""A feed's process as the engine sees it: started, listened to, ordered about."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import pytest

from avdetect.media.live_options import LiveOptions
from avdetect.serve.feeds.messages import (
    MAX_UNTAKEN_SNIPPETS,
    MAX_WAITING_SNIPPETS,
    ClipCut,
    CutClip,
    FromFeed,
    Logged,
    SnippetReady,
    SnippetsTaken,
    Stop,
    StretchBegan,
    StretchEnded,
    ToFeed,
    Waiting,
)
from avdetect.serve.feeds.process import run_feed
from tests.synth import feeds
from tests.synth.media import EVENT_S, MediaFactory
from tests.unit.media.test_live_source import MANIFEST, assert_same, file_snippets, serving

OPTIONS = LiveOptions(open_timeout_s=5, stall_timeout_s=2, max_backoff_s=1)
WITHIN_S = 180.0
LENGTH_S = 3.0
QUICK_S = 1.0
"""To send all of it in, where time does not matter."""
MessageT = TypeVar("MessageT")


@dataclass
class Child:
    """A feed's process and what it has said so far."""

    process: multiprocessing.process.BaseProcess
    connection: Connection[ToFeed, FromFeed]
    said: list[FromFeed] = field(default_factory=list)
    takes: bool = True
    """Whether snippets are acknowledged."""

    def hear(self, is_last: Callable[[FromFeed], bool], within_s: float = WITHIN_S) -> FromFeed:
        """Listen up to a message."""
        deadline = time.monotonic() + within_s
        while self.connection.poll(max(0.0, deadline - time.monotonic())):
            message = self.connection.recv()
            self.said.append(message)
            if self.takes and isinstance(message, SnippetReady):
                self.connection.send(SnippetsTaken(1))
            if is_last(message):
                return message
        raise AssertionError(f"not said within {within_s} s; all that was said: {self.said}")

    def hear_a(self, kind: type[MessageT]) -> MessageT:
        """Listen up to the next message of a kind."""
        message = self.hear(lambda message: isinstance(message, kind))
        assert isinstance(message, kind)
        return message

    def hear_out(self) -> None:
        """Listen until there is silence."""
        while self.connection.poll(1.0):
            self.said.append(self.connection.recv())

    def all_of(self, kind: type[MessageT]) -> list[MessageT]:
        return [message for message in self.said if isinstance(message, kind)]

    def stop(self) -> float:
        """Tell it to stop; how long it took to exit."""
        began = time.monotonic()
        self.connection.send(Stop())
        self.process.join(WITHIN_S)
        assert self.process.exitcode == 0
        return time.monotonic() - began


@contextmanager
def watching(url: str, options: LiveOptions = OPTIONS) -> Iterator[Child]:
    # Not spawned: on a busy machine a new interpreter takes seconds to import all.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["avdetect.serve.feeds.process", __name__])
    ours, theirs = context.Pipe()
    process = context.Process(target=run_feed, args=(theirs, url, options, MANIFEST), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Child(process, ours)
    finally:
        ours.close()
        process.join(WITHIN_S)
        assert not process.is_alive()
        process.close()


@pytest.fixture(scope="module")
def clip(media: MediaFactory) -> Path:
    return media.flash_and_tone("live.ts", duration_s=LENGTH_S)


def test_a_feed_goes_on_after_its_source_came_back(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S) as url, watching(url) as child:
        child.hear_a(StretchEnded)
        first = child.all_of(StretchBegan)[0]
        snippets = [ready.snippet for ready in child.all_of(SnippetReady)]
        second = child.hear_a(StretchBegan)
        child.hear_a(SnippetReady)
        child.stop()

    assert_same(snippets, file_snippets(clip))
    assert (first.stretch, first.start_s) == (0, 0.0)
    assert abs(first.origin_unix_s - time.time()) < 60
    assert second.stretch == 1
    assert second.start_s == pytest.approx(second.origin_unix_s - first.origin_unix_s)
    assert second.start_s > snippets[-1].span.end_s
    assert child.all_of(Waiting)[0].reason == "ended"


def test_a_source_that_refuses_is_tried_again_and_again() -> None:
    url = f"tcp://me:s3cret@{feeds.LOOPBACK}:{feeds.free_port()}"
    with watching(url) as child:
        for _ in range(3):
            child.hear_a(Waiting)
        command = Path(f"/proc/{child.process.pid}/cmdline").read_bytes()
        took_s = child.stop()

    waits = child.all_of(Waiting)
    assert {wait.reason for wait in waits} == {"refused"}
    assert [wait.num_attempts for wait in waits[:3]] == [1, 2, 3]
    assert all(0 < wait.retry_in_s <= 1 for wait in waits)
    assert "s3cret" not in repr(waits)
    assert b"s3cret" not in command
    assert took_s < 30


def test_it_stops_while_it_connects_to_somebody_who_does_not_answer() -> None:
    accepted = threading.Event()
    over = threading.Event()

    def play(connection: socket.socket, number: int) -> None:
        accepted.set()
        over.wait()

    with feeds.tcp_server(play) as url, watching(url, LiveOptions(open_timeout_s=60)) as child:
        assert accepted.wait(WITHIN_S)
        took_s = child.stop()
        over.set()

    assert took_s < 30


def test_it_stops_in_the_middle_of_a_stretch_and_says_so(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S, then_silent=True) as url, watching(url) as child:
        child.hear_a(SnippetReady)
        child.connection.send(Stop())
        ended = child.hear_a(StretchEnded)
        child.process.join(WITHIN_S)

    assert ended.reason == "stopped"


def test_it_ends_when_the_engine_is_gone(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S, then_silent=True) as url, watching(url) as child:
        child.hear_a(StretchBegan)
        child.connection.close()
        child.process.join(2)
        assert child.process.exitcode == 1


def test_snippets_that_nobody_takes_are_dropped_oldest_first_and_counted(media: MediaFactory) -> None:
    path = media.flash_and_tone("long.ts", duration_s=13.0)
    came_again = threading.Event()
    over = threading.Event()

    def play(connection: socket.socket, number: int) -> None:
        if number == 0:
            feeds.send_in_time(connection, path.read_bytes(), 3.0)
        else:
            came_again.set()
            over.wait()

    with feeds.tcp_server(play) as url, watching(url) as child:
        child.takes = False
        sent = [child.hear_a(SnippetReady) for _ in range(MAX_UNTAKEN_SNIPPETS)]
        assert came_again.wait(WITHIN_S)  # so the first stretch has come to its end meanwhile
        assert not child.connection.poll(0)
        child.connection.send(SnippetsTaken(MAX_UNTAKEN_SNIPPETS))
        child.takes = True
        child.hear_a(StretchEnded)
        over.set()
        child.stop()

    readies = child.all_of(SnippetReady)
    indices = [ready.snippet.index for ready in readies]
    total = len(file_snippets(path))
    assert [ready.snippet.index for ready in sent] == [0, 1, 2, 3]
    assert indices[-1] == total - 1
    assert len(indices) == MAX_UNTAKEN_SNIPPETS + MAX_WAITING_SNIPPETS
    missing = np.diff([-1, *indices]) - 1
    assert [ready.num_dropped for ready in readies] == missing.tolist()
    assert missing.sum() > 0


def test_a_file_at_its_own_speed_ends_the_process_well(clip: Path) -> None:
    with watching(str(clip), LiveOptions(realtime=True)) as child:
        ended = child.hear_a(StretchEnded)
        child.process.join(WITHIN_S)
        assert child.process.exitcode == 0

    assert ended.reason == "ended"
    assert_same([ready.snippet for ready in child.all_of(SnippetReady)], file_snippets(clip))


def order(folder: Path, name: str, start_s: float, end_s: float, *, stretch: int = 0) -> CutClip:
    return CutClip(name, stretch, start_s, end_s, (start_s + end_s) / 2, folder)


def brightness(picture: Path) -> float:
    with av.open(str(picture)) as container:
        return float(next(container.decode(video=0)).to_ndarray(format="gray").mean())


def test_a_clip_holds_what_was_received_and_its_picture_shows_the_moment(clip: Path, tmp_path: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S) as url, watching(url) as child:
        child.hear_a(StretchBegan)
        child.connection.send(order(tmp_path, "event", 0.9, 1.9))  # the flash is in the middle
        cut = child.hear_a(ClipCut)
        came_s = child.all_of(SnippetReady)[-1].snippet.span.end_s
        child.stop()

    assert cut == ClipCut("event", tmp_path / "event.mp4", tmp_path / "event.jpg")
    assert came_s < LENGTH_S - 0.2
    with av.open(str(cut.clip)) as container:
        pictures = list(container.decode(video=0))
        length_s = float(container.duration) / 1e6
    assert length_s == pytest.approx(1.0, abs=0.15)
    assert max(float(frame.to_ndarray(format="gray").mean()) for frame in pictures) > 128
    with av.open(str(cut.clip)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) / 48_000 == pytest.approx(1.0, abs=0.25)
    assert brightness(tmp_path / "event.jpg") > 128
    assert sorted(path.name for path in tmp_path.iterdir()) == ["event.jpg", "event.mp4"]


def test_a_clip_may_be_asked_for_before_its_end_is_known(clip: Path, tmp_path: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S) as url, watching(url) as child:
        child.hear_a(SnippetReady)
        child.connection.send(order(tmp_path, "event", 0.4, 60.0))
        child.hear_a(SnippetReady)
        child.connection.send(order(tmp_path, "event", 0.4, 1.4))
        cut = child.hear_a(ClipCut)
        child.stop()

    assert cut.clip is not None
    with av.open(str(cut.clip)) as container:
        assert float(container.duration) / 1e6 == pytest.approx(1.0, abs=0.25)


def test_a_clip_ends_with_its_stretch_and_can_be_asked_for_afterwards(clip: Path, tmp_path: Path) -> None:
    with serving(clip.read_bytes(), QUICK_S) as url, watching(url) as child:
        child.hear_a(StretchBegan)
        child.connection.send(order(tmp_path, "early", 2.0, 30.0))
        child.hear_a(StretchEnded)
        child.connection.send(order(tmp_path, "late", 2.0, 2.5))
        child.connection.send(order(tmp_path, "unknown", 2.0, 2.5, stretch=7))
        cuts = {cut.request: cut for cut in (child.hear_a(ClipCut) for _ in range(3))}
        child.stop()

    assert cuts["early"].clip is not None
    assert cuts["late"].clip is not None
    assert cuts["unknown"].clip is None
    assert "not kept any more" in cuts["unknown"].message


def white_at_s(path: Path) -> list[float]:
    """When a flash begins in a clip."""
    with av.open(str(path)) as container:
        shown = [
            (frame.time, float(frame.to_ndarray(format="gray").mean()) > 128) for frame in container.decode(video=0)
        ]
    return [round(now_s, 2) for (_, before), (now_s, now) in pairwise(shown) if now and not before]


def test_a_clip_reaches_over_the_seam_of_a_file_in_a_loop(clip: Path, tmp_path: Path) -> None:
    with watching(str(clip), LiveOptions(loop=True, realtime=True)) as child:
        child.hear_a(StretchBegan)
        child.connection.send(order(tmp_path, "event", 0.5, LENGTH_S + 1.8))
        cut = child.hear_a(ClipCut)
        child.stop()

    assert cut == ClipCut("event", tmp_path / "event.mp4", tmp_path / "event.jpg")
    assert white_at_s(tmp_path / "event.mp4") == pytest.approx([EVENT_S - 0.5, LENGTH_S + EVENT_S - 0.5], abs=0.15)


def test_a_clip_reaches_over_a_jump_of_the_timestamps(media: MediaFactory, clip: Path, tmp_path: Path) -> None:
    before = media.ffmpeg("before-the-jump.ts", "-i", clip, "-c", "copy", "-output_ts_offset", "1000")
    shifted = media.ffmpeg("after-the-jump.ts", "-i", clip, "-c", "copy", "-output_ts_offset", "100")
    with serving(before.read_bytes() + shifted.read_bytes(), QUICK_S) as url, watching(url) as child:
        child.hear_a(StretchBegan)
        child.connection.send(order(tmp_path, "event", 0.5, LENGTH_S + 1.8))
        cut = child.hear_a(ClipCut)
        child.stop()

    assert cut == ClipCut("event", tmp_path / "event.mp4", tmp_path / "event.jpg")
    assert white_at_s(tmp_path / "event.mp4") == pytest.approx([EVENT_S - 0.5, LENGTH_S + EVENT_S - 0.5], abs=0.15)
    [line] = child.all_of(Logged)
    assert "the timestamps jump by" in line.message


def test_a_clip_of_what_is_not_kept_any_more_is_told(clip: Path, tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"ring_s": 1.0})
    with serving(clip.read_bytes(), QUICK_S) as url, watching(url, options) as child:
        child.hear_a(StretchEnded)
        child.connection.send(order(tmp_path, "event", 0.1, 0.5))
        cut = child.hear_a(ClipCut)
        child.stop()

    assert cut.clip is None
    assert "nothing was found" in cut.message


def test_a_feed_without_pictures_gives_clips_without_a_thumbnail(media: MediaFactory, tmp_path: Path) -> None:
    path = media.flash_and_tone("sound.ts", video=(), duration_s=LENGTH_S)
    with serving(path.read_bytes(), QUICK_S) as url, watching(url) as child:
        child.hear_a(StretchBegan)
        child.connection.send(order(tmp_path, "event", 0.5, 1.5))
        cut = child.hear_a(ClipCut)
        child.stop()

    assert cut == ClipCut("event", tmp_path / "event.mp4", None)


def test_a_clip_asked_for_after_the_last_snippet_of_a_file_is_still_cut(clip: Path, tmp_path: Path) -> None:
    with watching(str(clip), LiveOptions(realtime=True)) as child:
        child.hear_a(StretchEnded)
        child.connection.send(order(tmp_path, "last", 2.0, 3.0))
        cut = child.hear_a(ClipCut)

    assert cut.clip is not None


def test_a_file_that_is_read_as_fast_as_it_can_be_ends_the_process_well_too(clip: Path) -> None:
    with watching(str(clip), LiveOptions()) as child:
        ended = child.hear_a(StretchEnded)
        child.process.join(WITHIN_S)
        assert child.process.exitcode == 0

    assert ended.is_final
    assert len(child.all_of(StretchEnded)) == 1


def test_a_file_whose_pictures_change_in_size_is_read_once_and_to_its_end(media: MediaFactory) -> None:
    parts = [media.flash_and_tone(f"size_{size}.ts", size=size, duration_s=2) for size in ("160x120", "320x240")]
    path = media.folder / "sizes.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with watching(str(path), LiveOptions()) as child:
        ended = child.hear_a(StretchEnded)
        child.process.join(WITHIN_S)
        assert child.process.exitcode == 0

    assert ended.reason == "ended"
    assert child.all_of(SnippetReady)[-1].snippet.span.end_s == pytest.approx(4, abs=0.3)
