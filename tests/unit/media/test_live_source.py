"""Live sources over real connections: what comes out, when, and how they end."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avdetect.manifest import AudioSpec, ClassSpec, DetectorSpec, FileEntry, Manifest, MotionSpec, VisualSpec
from avdetect.media import clock, live_input
from avdetect.media.live_input import ConnectError
from avdetect.media.live_options import LiveOptions
from avdetect.media.live_source import LiveSource
from avdetect.media.source import open_source
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import Snippet, stream_plan
from avdetect.stage import through
from tests.synth import feeds
from tests.synth.media import EVENT_S, MediaFactory
from tests.synth.transport import AUDIO_PID, retimed

MANIFEST = Manifest(
    schema_version="1.0",
    name="test",
    version="1",
    created="2026-01-01T00:00:00Z",
    hop_s=0.64,
    classes=(ClassSpec(name="bang"),),
    visual=VisualSpec(graph="g", frames_per_snippet=1, width=32, height=32, embedding_dim=1),
    motion=MotionSpec(graph="g", cells_per_snippet=8, width=80, height=60, embedding_dim=1),
    audio=AudioSpec(graph="g", rate_hz=16_000, window_samples=15_600, embedding_dim=1),
    detector=DetectorSpec(graph="g", left_context_snippets=1, lookahead_snippets=0, embedding_dim=1),
    files=(FileEntry(path="g", sha256="0" * 64, size=1),),
)
PLAN = stream_plan(MANIFEST)
OPTIONS = LiveOptions(open_timeout_s=5, stall_timeout_s=2)
LENGTH_S = 3.0


class Watched:
    """All that came of a source."""

    def __init__(self, source: LiveSource) -> None:
        self.snippets: list[Snippet] = []
        self.waits_s: list[float] = []
        """From the last packet that a snippet needed to the snippet."""
        self.ages_s: list[float] = []
        """From the end of a snippet, by the wall clock, to its arrival."""
        self.info = source.info
        assembler = assembler_for(source)
        for item in source.packets():
            for snippet in assembler.push(item):
                self._see(snippet, source)
        for snippet in assembler.flush():
            self._see(snippet, source)
        assert source.end is not None
        self.end = source.end

    def _see(self, snippet: Snippet, source: LiveSource) -> None:
        now = time.time()
        self.snippets.append(snippet)
        self.waits_s.append(now - source.received_unix_s)
        self.ages_s.append(now - source.origin_unix_s - snippet.span.end_s)

    @property
    def end_s(self) -> float:
        return self.snippets[-1].span.end_s


def watch(url: str, options: LiveOptions = OPTIONS) -> Watched:
    with LiveSource(url, PLAN, options) as source:
        return Watched(source)


def once_it_listens(url: str, options: LiveOptions) -> LiveSource:
    deadline = time.monotonic() + feeds.STARTS_WITHIN_S
    while True:
        try:
            return LiveSource(url, PLAN, options)
        except ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def assembler_for(source: LiveSource) -> SnippetAssembler:
    info = source.info
    return SnippetAssembler(
        MANIFEST, has_video=info.video_codec is not None, has_audio=info.audio_codec is not None, max_lag_s=1.0
    )


def file_snippets(path: Path) -> list[Snippet]:
    with open_source(path, PLAN) as source:
        info = source.info
        assembler = SnippetAssembler(
            MANIFEST, has_video=info.video_codec is not None, has_audio=info.audio_codec is not None
        )
        return list(through(source.packets(), assembler))


def assert_same(left: list[Snippet], right: list[Snippet]) -> None:
    assert [snippet.span for snippet in left] == [snippet.span for snippet in right]
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.luma, other.luma)
        np.testing.assert_array_equal(one.luma_time_s, other.luma_time_s)
        np.testing.assert_array_equal(one.waveform, other.waveform)
        assert (one.audio_present, one.visual_present) == (other.audio_present, other.visual_present)


@contextmanager
def serving(data: bytes, duration_s: float, *, then_silent: bool = False) -> Iterator[str]:
    """A TCP server that sends ``data`` to everyone who connects, at the speed at which it plays."""
    silenced = threading.Event()

    def play(connection: socket.socket, number: int) -> None:
        feeds.send_in_time(connection, data, duration_s)
        if then_silent:
            silenced.wait()

    try:
        with feeds.tcp_server(play) as url:
            yield url
    finally:
        silenced.set()


@pytest.fixture(scope="module")
def clip(media: MediaFactory) -> Path:
    return media.flash_and_tone("live.ts", duration_s=LENGTH_S)


def test_the_snippets_of_a_stream_are_those_of_the_file(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S) as url:
        watched = watch(url)

    assert_same(watched.snippets, file_snippets(clip))
    assert watched.end.reason == "ended"
    assert watched.info.video_codec == "h264"
    assert watched.info.audio_codec == "aac"


@pytest.mark.parametrize(
    ("name", "making"),
    [
        ("live-ntsc.ts", {"rate": "30000/1001"}),
        ("live-variable.ts", {"video_filter": "select='lt(t,1)+not(mod(n,4))'", "options": ("-fps_mode", "vfr")}),
        ("live-late-sound.ts", {"options": ("-af", "asetpts=PTS+0.7/TB")}),
        ("live-late-pictures.ts", {"options": ("-vf", "setpts=PTS+0.7/TB")}),
        ("live-sound.ts", {"video": ()}),
    ],
)
def test_the_snippets_of_a_stream_are_those_of_the_file_whatever_its_times(
    media: MediaFactory, name: str, making: dict[str, Any]
) -> None:
    path = media.flash_and_tone(name, duration_s=LENGTH_S, **making)
    with serving(path.read_bytes(), LENGTH_S / 2) as url:
        watched = watch(url)

    assert_same(watched.snippets, file_snippets(path))


def test_the_snippets_that_ffmpeg_sends_over_tcp_are_those_of_the_file(clip: Path) -> None:
    port = feeds.free_port()
    url = f"tcp://{feeds.LOOPBACK}:{port}"
    with (
        feeds.running(feeds.sending(clip, f"{url}?listen=1", "-f", "mpegts")),
        once_it_listens(url, OPTIONS) as source,
    ):
        watched = Watched(source)

    assert_same(watched.snippets, file_snippets(clip))


def test_a_snippet_leaves_as_soon_as_its_last_packet_has_come(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S) as url:
        watched = watch(url)

    in_time = watched.waits_s[1:-1]  # the first comes from the packets that FFmpeg looked at while it connected
    # A snippet later it would be 0.64 s more.
    assert np.median(in_time) < 0.4
    assert np.median(watched.ages_s[1:-1]) < 1.2


def test_a_file_is_played_at_its_own_speed_and_dated_now(clip: Path) -> None:
    began = time.time()
    watched = watch(str(clip), LiveOptions(realtime=True))
    took_s = time.time() - began

    assert_same(watched.snippets, file_snippets(clip))
    assert LENGTH_S - 0.2 < took_s < LENGTH_S + 60
    assert min(watched.ages_s) > -0.1
    assert np.median(watched.ages_s) < 1.5


@pytest.mark.parametrize(
    ("name", "making"),
    [
        ("loop.ts", {}),
        ("loop.mp4", {}),
        ("loop.m4a", {"video": ()}),
        ("loop-short.mp4", {"duration_s": 0.4}),
        ("loop-late-sound.mp4", {"audio_filter": "apad=pad_dur=0.8"}),
    ],
)
def test_a_file_in_a_loop_goes_on_without_a_gap(media: MediaFactory, name: str, making: dict[str, Any]) -> None:
    path = media.flash_and_tone(name, **{"duration_s": LENGTH_S, **making})
    with LiveSource(str(path), PLAN, LiveOptions(loop=True)) as source:
        assembler = assembler_for(source)
        heard_until_s = []
        for item in source.packets():
            heard_until_s += [snippet.span.end_s for snippet in assembler.push(item) if snippet.audio_present]
            if len(heard_until_s) > 4 * LENGTH_S / 0.64:
                source.stop()
                break

    assert np.allclose(np.diff(heard_until_s), 0.64)


def test_a_source_that_falls_silent_is_given_up_with_all_that_came(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S, then_silent=True) as url:
        watched = watch(url, LiveOptions(stall_timeout_s=1))

    assert watched.end.reason == "stalled"
    assert "nothing came for 1 s" in watched.end.message
    assert watched.end_s == pytest.approx(LENGTH_S, abs=0.2)


def test_a_source_is_closed_while_it_is_being_waited_for(clip: Path) -> None:
    with serving(clip.read_bytes(), LENGTH_S, then_silent=True) as url:
        source = LiveSource(url, PLAN, LiveOptions(stall_timeout_s=3))
        began = time.monotonic()
        source.stop()
        list(source.packets())
        source.close()

    assert time.monotonic() - began < 1.5
    assert source.end is not None
    assert source.end.reason == "stopped"


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (lambda connection, number: connection.sendall(b"no media " * 10_000), "unreadable"),
        (lambda connection, number: None, "unreadable"),
        (lambda connection, number: time.sleep(3), "timeout"),
    ],
    ids=["text", "nothing", "silence"],
)
def test_what_is_no_source_is_told_from_what_does_not_answer(play: feeds.Play, reason: str) -> None:
    with feeds.tcp_server(play) as url, pytest.raises(ConnectError) as caught:
        LiveSource(url, PLAN, LiveOptions(open_timeout_s=1))

    assert caught.value.reason == reason


def test_credentials_appear_nowhere(clip: Path) -> None:
    refusing = f"tcp://me:s3cret@{feeds.LOOPBACK}:{feeds.free_port()}?token=hidden"
    with pytest.raises(ConnectError) as caught:
        LiveSource(refusing, PLAN, OPTIONS)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.__context__)
    with serving(clip.read_bytes(), LENGTH_S) as url:
        watched = watch(url.replace("//", "//me:s3cret@") + "?token=hidden")
    told += repr(watched.info) + repr(watched.end)

    assert caught.value.reason == "refused"
    assert "refused" in told
    assert "s3cret" not in told
    assert "hidden" not in told


def test_sound_that_stops_and_comes_back_holds_nothing_up(media: MediaFactory) -> None:
    silent_between = "aselect='not(between(t,1,3.5))'"
    path = media.flash_and_tone("vanishing.ts", duration_s=5.0, audio_filter=silent_between)
    with serving(path.read_bytes(), 5.0) as url:
        watched = watch(url)

    present = [snippet.audio_present for snippet in watched.snippets]
    assert present[0]
    assert present[3:5] == [False, False]
    assert present[6:7] == [True]
    assert all(snippet.visual_present for snippet in watched.snippets)
    assert max(watched.ages_s) < 2.5


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_sound_and_pictures_that_drift_apart_end_the_stretch_before_either_is_lost(
    media: MediaFactory, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setattr(clock, "_WINDOW_S", 1.5)
    monkeypatch.setattr(clock, "_MIN_PACKETS", 20)
    path = media.flash_and_tone("drifting.ts", duration_s=8.0)
    data = retimed(path.read_bytes(), AUDIO_PID, lambda time_s: time_s * rate)
    with serving(data, 8.0) as url:
        watched = watch(url)

    assert watched.end.reason == "clock-drift"
    assert "drifted apart" in watched.end.message
    both = [snippet.audio_present and snippet.visual_present for snippet in watched.snippets]
    assert all(both[:-3])  # the last are flushed: one stream reaches further than the other


@pytest.mark.parametrize(
    ("name", "making", "message"),
    [
        ("mpeg2.ts", {"video": ("-c:v", "mpeg2video", "-q:v", "4", "-g", "12")}, "its video can be decoded no longer"),
        ("mp2.ts", {"audio": ("-c:a", "mp2")}, "its audio can be decoded no longer"),
    ],
)
def test_another_codec_on_the_same_pid_ends_the_stretch(
    media: MediaFactory, clip: Path, name: str, making: dict[str, Any], message: str
) -> None:
    other = media.flash_and_tone(name, duration_s=6.0, options=("-output_ts_offset", str(LENGTH_S)), **making)
    with serving(clip.read_bytes() + other.read_bytes(), LENGTH_S + 6.0) as url:
        watched = watch(url)

    assert watched.end.reason == "format-change"
    assert message in watched.end.message


def test_a_change_of_size_ends_the_stretch(media: MediaFactory) -> None:
    small = media.flash_and_tone("small.ts", duration_s=2.0)
    large = media.flash_and_tone("large.ts", duration_s=2.0, size="320x240", options=("-output_ts_offset", "2"))
    with serving(small.read_bytes() + large.read_bytes(), 4.0) as url:
        watched = watch(url)

    assert watched.end.reason == "format-change"
    assert "from 160x120 to 320x240" in watched.end.message
    assert watched.end_s == pytest.approx(2.0, abs=0.3)


def test_a_damaged_stretch_is_passed_over(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = os.urandom(2000)
    with serving(bytes(data), LENGTH_S) as url:
        watched = watch(url)

    assert watched.end.reason == "ended"
    assert watched.end_s == pytest.approx(LENGTH_S, abs=0.3)


def test_a_counter_that_wraps_is_no_gap(media: MediaFactory, clip: Path) -> None:
    wrap_s = 2**33 / 90_000
    path = media.ffmpeg(
        "wrapping.ts", "-i", clip, "-c", "copy", "-muxdelay", "0", "-output_ts_offset", str(wrap_s - 1.5 - 1.4)
    )
    with serving(path.read_bytes(), LENGTH_S) as url:
        watched = watch(url)

    assert watched.end.reason == "ended"
    assert_same(watched.snippets, file_snippets(path))
    assert all(snippet.audio_present and snippet.visual_present for snippet in watched.snippets[:-1])


def test_a_file_of_raw_sound_comes_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sound.raw"
    path.write_bytes(bytes(2 * 8000))
    watched = watch(str(path), LiveOptions(input_format="s16le", audio_rate_hz=8000, audio_channels=1))

    assert watched.end.reason == "ended"
    assert watched.end_s == pytest.approx(1.0)


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end to write to of a pipe that takes the place of standard input."""
    ours, theirs = os.pipe()
    monkeypatch.setattr(live_input, "_STANDARD_INPUT_FD", ours)
    yield theirs
    os.close(ours)


def test_raw_sound_is_read_from_standard_input(standard_input: int) -> None:
    rate_hz, length_s = 8000, 2.0
    time_s = np.arange(round(rate_hz * length_s)) / rate_hz
    tone = np.where(time_s >= EVENT_S, np.sin(2 * np.pi * 440 * time_s), 0.0) * 0.5
    stereo = np.repeat((tone * 32_767).astype("<i2"), 2)

    def write() -> None:
        with os.fdopen(standard_input, "wb") as pipe:
            pipe.write(stereo.tobytes())

    writer = threading.Thread(target=write)
    writer.start()
    watched = watch("-", LiveOptions(input_format="s16le", audio_rate_hz=rate_hz, audio_channels=2))
    writer.join()

    assert watched.info.audio_channels == 2
    assert watched.info.video_codec is None
    assert watched.end_s == pytest.approx(length_s, abs=0.01)
    loud = [float(np.abs(snippet.waveform).max()) > 0.1 for snippet in watched.snippets]
    assert loud == [False, True, True, True]


def test_standard_input_that_says_nothing_is_a_stall(standard_input: int, clip: Path) -> None:
    with os.fdopen(standard_input, "wb", closefd=True) as pipe:
        writer = threading.Thread(target=lambda: (pipe.write(clip.read_bytes()), pipe.flush()))
        writer.start()
        watched = watch("-", LiveOptions(stall_timeout_s=1))
        writer.join()

    assert watched.end.reason == "stalled"
    assert watched.end_s > LENGTH_S - 0.7


def test_motion_jpeg_is_timed_by_its_arrival(media: MediaFactory) -> None:
    movie = media.flash_and_tone("jpegs.mjpeg", video=("-c:v", "mjpeg"), audio=(), rate="5", options=("-f", "mjpeg"))
    jpegs = [b"\xff\xd8" + part for part in movie.read_bytes().split(b"\xff\xd8")[1:]]
    with feeds.mjpeg_server(jpegs, rate_hz=5) as url, LiveSource(url, PLAN, OPTIONS) as source:
        assembler = assembler_for(source)
        began, snippets = time.monotonic(), 0
        for item in source.packets():
            snippets += len(list(assembler.push(item)))
            if snippets == 3:
                break
        took_s = time.monotonic() - began

    assert source.info.video_codec == "mjpeg"
    assert took_s > 1.2


@pytest.mark.slow
@pytest.mark.needs("gstreamer")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_needs_and_takes_a_password(media: MediaFactory, transport: str) -> None:
    mp4 = media.flash_and_tone("rtsp.mp4", duration_s=LENGTH_S)
    options = OPTIONS.model_copy(update={"transport": transport})
    with feeds.rtsp_server(mp4, user="me", password="s3cret") as url:
        with pytest.raises(ConnectError, match="401") as caught:
            LiveSource(url, PLAN, options)
        assert caught.value.reason == "unauthorized"
        watched = watch(url.replace("//", "//me:s3cret@"), options)

    assert watched.info.uri == url.replace("//", "//***@")
    assert sum(snippet.audio_present and snippet.visual_present for snippet in watched.snippets) >= 3


@pytest.mark.slow
@pytest.mark.needs("nginx")
def test_rtmp(media: MediaFactory, tmp_path: Path) -> None:
    mp4 = media.flash_and_tone("rtmp.mp4", duration_s=5)
    with feeds.rtmp_server(mp4, tmp_path) as url:
        watched = watch(url)

    assert watched.info.format == "flv"
    assert sum(snippet.audio_present and snippet.visual_present for snippet in watched.snippets) >= 3


@pytest.mark.slow
def test_hls(media: MediaFactory, tmp_path: Path) -> None:
    mp4 = media.flash_and_tone("hls.mp4", duration_s=6)
    # A segment comes all at once, when the playlist is looked at next: over two seconds pass without a packet.
    options = OPTIONS.model_copy(update={"stall_timeout_s": 8.0, "ffmpeg_options": {"live_start_index": "0"}})
    with feeds.hls_server(mp4, tmp_path) as url:
        watched = watch(url, options)

    assert watched.info.format == "hls"
    assert watched.end.reason == "ended"
    assert watched.end_s == pytest.approx(6.0, abs=0.1)
    assert all(snippet.audio_present and snippet.visual_present for snippet in watched.snippets)


@pytest.mark.slow
def test_mpeg_ts_over_udp(media: MediaFactory) -> None:
    path = media.flash_and_tone("udp.ts", duration_s=4)
    url = f"udp://{feeds.LOOPBACK}:{feeds.free_port(socket.SOCK_DGRAM)}"
    with feeds.running(feeds.sending(path, f"{url}?pkt_size=1316", "-f", "mpegts")):
        watched = watch(url)

    assert watched.end.reason == "stalled"
    assert sum(snippet.audio_present and snippet.visual_present for snippet in watched.snippets) >= 3


@pytest.mark.slow
def test_srt_comes_through_the_ffmpeg_program_which_shows_no_passphrase(media: MediaFactory) -> None:
    path = media.flash_and_tone("srt.ts", duration_s=5)
    url = f"srt://{feeds.LOOPBACK}:{feeds.free_port(socket.SOCK_DGRAM)}?passphrase=s3cretsecret"
    with feeds.running(feeds.sending(path, f"{url}&mode=listener", "-f", "mpegts")) as sender:
        snippets = 0
        with once_it_listens(url, LiveOptions(stall_timeout_s=3)) as source:
            commands = {
                process.parent.name: process.read_bytes()
                for process in Path("/proc").glob("[0-9]*/cmdline")
                if process.parent.name != str(sender.pid)
            }
            assembler = assembler_for(source)
            for item in source.packets():
                snippets += sum(snippet.audio_present and snippet.visual_present for snippet in assembler.push(item))

    assert not [command for command in commands.values() if b"s3cretsecret" in command]
    assert [command for command in commands.values() if b"concat" in command]
    assert source.info.uri == url.replace("s3cretsecret", "***")
    assert snippets >= 3


@pytest.mark.slow
def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="nowhere"):
        LiveSource("nowhere", PLAN, LiveOptions(input_format="alsa"))
    with pytest.raises(ConnectError, match="/dev/nowhere") as caught:
        LiveSource("/dev/nowhere", PLAN, LiveOptions(input_format="v4l2"))
    assert caught.value.reason == "not-found"


@pytest.mark.parametrize(
    ("use", "present"), [("audio", (True, False)), ("video", (False, True)), ("both", (True, True))]
)
def test_only_the_stream_that_is_used_is_opened(clip: Path, use: str, present: tuple[bool, bool]) -> None:
    watched = watch(str(clip), LiveOptions.model_validate({"use": use}))

    assert (watched.info.audio_codec is not None, watched.info.video_codec is not None) == present
    for kind, is_there in zip(("audio_present", "visual_present"), present, strict=True):
        assert any(getattr(snippet, kind) for snippet in watched.snippets) == is_there


def test_a_source_without_the_stream_that_is_used_says_so(media: MediaFactory) -> None:
    silent = media.ffmpeg("use-silent.ts", "-f", "lavfi", "-i", "testsrc=d=1", "-c:v", "libx264")

    with pytest.raises(ConnectError, match="holds no sound that can be decoded"):
        LiveSource(str(silent), PLAN, LiveOptions(use="audio"))


@pytest.mark.slow
@pytest.mark.needs("gstreamer")
def test_an_rtsp_source_is_asked_for_the_stream_that_is_used_alone(media: MediaFactory) -> None:
    mp4 = media.flash_and_tone("rtsp.mp4", duration_s=LENGTH_S)
    with feeds.rtsp_server(mp4) as url, LiveSource(url, PLAN, LiveOptions(use="audio")) as source:
        streams = [stream.type for stream in source._reader._source.container.streams]

    assert streams == ["audio"]
