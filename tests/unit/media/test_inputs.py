"""What may be given as an input, and what is said of what may not."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from avdetect.errors import MediaError, UsageError
from avdetect.events.event import Event
from avdetect.media import container
from avdetect.media.find_sources import find_sources
from avdetect.media.source import open_source, probe
from avdetect.sinks.clips import cut_clips
from tests.synth.media import EVENT_S, PLAN, MediaFactory, read


def assert_flash_and_tone(uri: str | Path) -> None:
    contents = read(uri)
    assert contents.flash_s == pytest.approx(EVENT_S, abs=0.12)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.mp4: no such file\.$"):
        open_source(tmp_path / "gone.mp4", PLAN)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="is a directory, not a media file"):
        open_source(tmp_path, PLAN)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match=r"empty\.mp4: is empty"):
        open_source(tmp_path / "empty.mp4", PLAN)


@pytest.mark.parametrize("name", ["text.mp4", "text.txt"])
def test_text_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is no video.\n" * 100)
    with pytest.raises(MediaError, match=rf"{name}: (cannot be opened as media|is text)"):
        open_source(tmp_path / name, PLAN)


def test_a_file_that_may_not_be_read_is_refused() -> None:
    as_nobody = "import os; os.geteuid() or os.seteuid(65534)\n"
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        path = Path(folder) / "secret.mp4"
        path.write_bytes(b"secret")
        path.chmod(0)
        code = (
            "from avdetect.errors import MediaError\n"
            "from avdetect.media.location import locate\n"
            f"{as_nobody}"
            f"try: locate({str(path)!r})\n"
            "except MediaError as error: print(error)\n"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == f"{path}: no permission to read it.\n"


def test_a_file_without_picture_or_sound_is_refused(media: MediaFactory, tmp_path: Path) -> None:
    subtitles = tmp_path / "words.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(MediaError, match="holds no video or audio that can be decoded"):
        open_source(media.ffmpeg("words.mkv", "-i", subtitles), PLAN)


def test_a_colon_in_a_name_is_no_protocol(media: MediaFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    source = media.flash_and_tone("flash.mp4")
    monkeypatch.chdir(media.folder)
    Path("at 12:30.mp4").write_bytes(source.read_bytes())
    assert_flash_and_tone("at 12:30.mp4")


def test_a_fifo_is_read(media: MediaFactory) -> None:
    source = media.flash_and_tone("flash.mkv")
    fifo = media.folder / "fifo.mkv"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(source.read_bytes()), daemon=True)
    writer.start()
    assert_flash_and_tone(fifo)
    writer.join()


def test_standard_input_is_read(media: MediaFactory) -> None:
    code = (
        "from tests.synth.media import read\n"
        "contents = read('-', start_s=0.64)\n"
        "print(contents.flash_s, contents.tone_s)\n"
    )
    with media.flash_and_tone("flash.mkv").open("rb") as stdin:
        result = subprocess.run([sys.executable, "-c", code], stdin=stdin, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    flash_s, tone_s = map(float, result.stdout.split())
    assert flash_s == pytest.approx(EVENT_S, abs=0.12)
    assert tone_s == pytest.approx(EVENT_S, abs=0.03)


@pytest.fixture
def server(media: MediaFactory) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=media.folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_url_is_read(media: MediaFactory, server: str) -> None:
    media.flash_and_tone("flash.mkv")
    assert_flash_and_tone(f"{server}/flash.mkv")


def test_a_url_that_is_not_there_is_named(server: str) -> None:
    with pytest.raises(MediaError, match=r"/gone\.mkv: cannot be opened as media: .*404"):
        open_source(f"{server}/gone.mkv", PLAN)


@pytest.fixture(scope="module")
def two_tracks(media: MediaFactory) -> Path:
    """The first track is silent, the second has the tone."""
    source = media.flash_and_tone("flash.mp4")
    return media.ffmpeg(
        "two_tracks.mkv", "-i", source, "-i", source, "-map", "0:v", "-map", "0:a", "-map", "1:a",
        "-c:v", "copy", "-c:a", "aac", "-filter:a:0", "volume=0", "-metadata:s:a:1", "language=fra",
    )  # fmt: skip


def test_the_audio_track_can_be_chosen(two_tracks: Path) -> None:
    assert abs(read(two_tracks, audio_track=0).waveform).max() < 0.01
    assert abs(read(two_tracks, audio_track=1).waveform).max() > 0.4


def test_an_audio_track_that_is_not_there_is_refused_with_a_list(two_tracks: Path) -> None:
    with pytest.raises(UsageError, match=r"has no audio track 2; its audio tracks are 0: aac.*; 1: aac.*fra"):
        open_source(two_tracks, PLAN, audio_track=2)


def test_a_start_beyond_the_end_is_refused(media: MediaFactory) -> None:
    with pytest.raises(UsageError, match=r"flash\.mp4: lasts 3\.\d\d s, so it cannot be started at 30 s"):
        open_source(media.flash_and_tone("flash.mp4"), PLAN, start_s=30)


@pytest.mark.parametrize(("start_s", "duration_s"), [(-1, None), (0, 0), (1, -2)])
def test_a_stretch_that_cannot_be_is_refused(start_s: float, duration_s: float | None) -> None:
    with pytest.raises(UsageError, match="must not be negative"):
        open_source("any.mp4", PLAN, start_s=start_s, duration_s=duration_s)


def test_an_mp4_without_its_index_is_recognised(media: MediaFactory, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(media.flash_and_tone("flash.mp4").read_bytes()[:5000])
    with pytest.raises(MediaError, match=r"cut\.mp4: cannot be opened as media: .*; its index is missing"):
        open_source(path, PLAN)


def test_an_mp4_in_a_pipe_with_its_index_at_the_end_is_recognised(media: MediaFactory) -> None:
    code = (
        "from avdetect.errors import MediaError\n"
        "from avdetect.media.source import probe\n"
        "try: probe('-')\n"
        "except MediaError as error: print(error)\n"
    )
    noise = media.flash_and_tone("late_index.mp4", video_filter="noise=alls=60:allf=t", size="640x480")
    command = f"cat '{noise}' | '{sys.executable}' -c \"{code}\""
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "-: holds no video or audio that can be decoded; from a pipe, an MP4" in result.stdout


def test_reading_may_be_given_up_half_way(media: MediaFactory) -> None:
    source = open_source(media.flash_and_tone("flash.mp4"), PLAN)
    packets = source.packets()
    next(packets)
    source.close()
    del packets


def test_probing_tells_what_reading_tells(media: MediaFactory) -> None:
    path = media.flash_and_tone("flash.mp4")
    assert probe(path) == read(path).info


def test_closing_twice_is_harmless(media: MediaFactory) -> None:
    source = open_source(media.flash_and_tone("flash.mp4"), PLAN)
    source.close()
    source.close()


def test_a_fifo_that_nobody_writes_to_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "FIFO_TIMEOUT_S", 0.3)
    path = tmp_path / "fifo.mp4"
    os.mkfifo(path)
    with pytest.raises(MediaError, match=r"fifo\.mp4: nothing was written to it for 0\.3 s"):
        open_source(path, PLAN)


def test_a_device_is_refused() -> None:
    with pytest.raises(MediaError, match="/dev/zero: is a device, not a media file"):
        open_source("/dev/zero", PLAN)


@pytest.mark.parametrize(
    "name", ["12:30:00.mp4", "http:x.mp4", "concat:a|b.mp4", "a" * 247 + ".mp4", "e\x1b]0;t\a.mp4"]
)
def test_odd_names_are_files_to_every_reader(
    media: MediaFactory, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(media.flash_and_tone("flash.mp4").read_bytes())
    assert len(read(name).frames) > 30
    [clip] = cut_clips(Path(name), [Event("tone", 1.2, 1.6, 1.3, 0.9, "audio")], Path("a:b"), margin_s=0.5)
    assert len(read(clip).frames) > 10
    assert find_sources([name]) == ([name], [])
