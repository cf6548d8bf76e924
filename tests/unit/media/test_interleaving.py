"""Files whose streams lie far apart are read in order of time and in bounded memory."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import av
import pytest

from avdetect.media import demux
from avdetect.media.packets import VideoFrame
from avdetect.media.source import open_source
from tests.synth.media import EVENT_S, PLAN, MediaFactory, read


@pytest.fixture(scope="module", params=["video_first", "audio_first"])
def apart(media: MediaFactory, request: pytest.FixtureRequest) -> Path:
    """All of one stream, then all of the other."""
    source = media.flash_and_tone("flash.mp4")
    path = media.folder / f"{request.param}.mkv"
    kinds = ("video", "audio") if request.param == "video_first" else ("audio", "video")
    options = {"max_interleave_delta": "1"}
    with av.open(path, "w", container_options=options) as output:
        with av.open(source) as container:
            copies = {s.type: output.add_stream_from_template(s) for s in container.streams}
        for kind in kinds:
            with av.open(source) as container:
                for packet in container.demux(container.streams.get({kind: 0})):
                    if packet.dts is not None:
                        packet.stream = copies[kind]
                        output.mux(packet)
    return path


def packet_order(path: Path) -> str:
    with av.open(path) as container:
        kinds = [packet.stream.type[0] for packet in container.demux() if packet.size]
    return "".join(kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind)


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file were a thousand times as long."""
    monkeypatch.setattr(demux, "MAX_QUEUED_PACKETS", 10)


@pytest.mark.usefixtures("small_queue")
def test_a_file_is_read_in_order_of_time_however_its_streams_lie(apart: Path) -> None:
    assert len(packet_order(apart)) <= 4
    with open_source(apart, PLAN) as source:
        times = [item.time for item in source.packets()]
    assert times == sorted(times)
    contents = read(apart)
    assert contents.flash_s == pytest.approx(EVENT_S, abs=0.12)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)
    assert contents.times_s[-1] > 2.9
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(3, abs=0.05)
    assert contents.codes == set()


@pytest.mark.usefixtures("small_queue")
def test_nothing_is_lost_or_read_twice_where_the_file_is_opened_again(media: MediaFactory) -> None:
    """Sound that ends early makes pictures wait, until the sound is looked for in a container of its own."""
    path = media.flash_and_tone("early.mkv", audio_filter="atrim=end=1.5")
    contents = read(path)
    assert contents.holes_s == []
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(1.5, abs=0.05)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)
    assert contents.times_s[-1] > 2.9


@pytest.mark.usefixtures("small_queue")
def test_from_a_pipe_a_stream_that_lies_far_behind_is_read_when_it_comes(media: MediaFactory, apart: Path) -> None:
    fifo = media.folder / f"fifo_{apart.name}"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(apart.read_bytes()), daemon=True)
    writer.start()
    contents = read(fifo)
    writer.join()
    assert contents.times_s[-1] > 2.9
    assert contents.flash_s == pytest.approx(EVENT_S, abs=0.12)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)
    assert contents.codes == set()


@pytest.mark.usefixtures("small_queue")
def test_from_a_pipe_sound_that_ends_early_does_not_hold_up_the_pictures(media: MediaFactory) -> None:
    path = media.flash_and_tone("early.mkv", audio_filter="atrim=end=1.5")
    fifo = media.folder / "fifo_early.mkv"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()), daemon=True)
    writer.start()
    with open_source(fifo, PLAN) as source:
        items = list(source.packets())
    writer.join()
    frames = [item for item in items if isinstance(item, VideoFrame)]
    assert float(frames[-1].time) > 2.9


@pytest.fixture(scope="module")
def late(media: MediaFactory) -> dict[str, Path]:
    """Twelve seconds of pictures, and sound that begins after eight of them and twice the bytes that FFmpeg probes."""
    bulky = ("-c:v", "mpeg2video", "-b:v", "16M", "-minrate", "16M", "-maxrate", "16M", "-bufsize", "8M", "-g", "12")
    picture = media.flash_and_tone(
        "bulky.mpg", video=bulky, audio=(), duration_s=12, video_filter="noise=alls=90:allf=t"
    )
    sound = media.flash_and_tone("sound.mp2", video=(), audio=("-c:a", "mp2"))
    form = ("-itsoffset", "8", "-i", sound, "-map", "0:v", "-map", "1:a", "-c", "copy")
    return {suffix: media.ffmpeg(f"late_sound.{suffix}", "-i", picture, *form) for suffix in ("mpg", "ts", "mkv")}


@pytest.mark.parametrize("suffix", ["mpg", "ts", "mkv"])
def test_sound_that_comes_up_late_in_a_file_is_heard_where_it_is(late: dict[str, Path], suffix: str) -> None:
    contents = read(late[suffix])
    assert contents.tone_s == pytest.approx(8 + EVENT_S, abs=0.1)
    assert contents.times_s[-1] > 11.8
    assert contents.codes == {"gap"}


@pytest.mark.parametrize("suffix", ["mpg", "mkv"])
def test_sound_that_comes_up_late_in_a_pipe_is_heard_where_it_is(
    late: dict[str, Path], suffix: str, tmp_path: Path
) -> None:
    fifo = tmp_path / f"fifo.{suffix}"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(late[suffix].read_bytes()), daemon=True)
    writer.start()
    contents = read(fifo)
    writer.join()
    assert contents.tone_s == pytest.approx(8 + EVENT_S, abs=0.1)
    assert contents.times_s[-1] > 11.8
