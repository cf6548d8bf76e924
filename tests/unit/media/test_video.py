from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avdetect.media.packets import VideoFrame
from avdetect.media.source import open_source
from avdetect.media.video import CellClock
from tests.synth.media import PLAN, X264, MediaFactory, read

THREE_OF_FOUR_BETWEEN = ("-x264-params", "b-adapt=0:b-pyramid=normal:scenecut=0")
LOW_DELAY = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0")


def last_of_cells(times: list[Fraction]) -> list[Fraction]:
    return [max(t for t in times if t // PLAN.cell == cell) for cell in sorted({t // PLAN.cell for t in times})]


def test_cells_are_counted_in_whole_numbers() -> None:
    time_base, origin = Fraction(1, 90_000), Fraction(131_280, 90_000)
    clock = CellClock(time_base, origin, PLAN.cell)
    for ticks in range(120_000, 160_000, 37):
        assert clock.cell(ticks) == (ticks * time_base - origin) // PLAN.cell
    assert clock.cell(131_280) == 0
    assert clock.cell(131_280 + 7200) == 1
    assert clock.cell(131_280 + 7199) == 0


def test_the_last_picture_of_each_cell_is_handed_out(media: MediaFactory) -> None:
    path = media.flash_and_tone("low_delay.mp4", video=LOW_DELAY, audio=(), rate="30")
    times = [frame.time for frame in read(path).frames]
    assert times == last_of_cells([Fraction(i, 30) for i in range(90)])


@pytest.fixture(scope="module")
def reordered(media: MediaFactory) -> Path:
    """50 pictures a second, three of four between those that they refer to."""
    codec = (*X264, *THREE_OF_FOUR_BETWEEN)
    return media.flash_and_tone("reordered.mp4", video=codec, audio=(), rate="50", video_filter="noise=alls=9:allf=t")


def test_pictures_that_no_other_refers_to_are_left_out_where_the_cell_has_one(reordered: Path) -> None:
    times = [frame.time for frame in read(reordered).frames]
    every = [Fraction(i, 50) for i in range(150)]
    assert {time // PLAN.cell for time in times} == {time // PLAN.cell for time in every}
    left_out = [want for got, want in zip(times, last_of_cells(every), strict=True) if got != want]
    assert len(left_out) > 8


def test_of_pictures_that_stand_alone_only_the_first_of_a_cell_is_decoded(media: MediaFactory) -> None:
    path = media.flash_and_tone("alone.avi", video=("-c:v", "mjpeg"), audio=(), rate="50")
    times = [frame.time for frame in read(path).frames]
    first_of_cells = {Fraction(i, 50) // PLAN.cell: Fraction(i, 50) for i in reversed(range(150))}
    assert times[10:] == sorted(first_of_cells.values())[10:]


@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_do_not_depend_on_the_number_of_threads(reordered: Path, threads: int) -> None:
    expected = read(reordered).frames
    with open_source(reordered, PLAN, decoder_threads=threads) as source:
        frames = [item for item in source.packets() if isinstance(item, VideoFrame)]
    assert [frame.time for frame in frames] == [frame.time for frame in expected]
    assert all(np.array_equal(a.luma, b.luma) for a, b in zip(frames, expected, strict=True))


def held_rgb(frames: list[VideoFrame], time: Fraction) -> list[VideoFrame]:
    return [f for f in frames if f.rgb is not None and f.time <= time < f.time + f.hold]


@pytest.mark.parametrize("rate", ["1", "3", "25", "60"])
def test_every_rgb_cell_has_a_picture_in_colour(media: MediaFactory, rate: str) -> None:
    path = media.flash_and_tone(f"rate{rate}.mp4", audio=(), rate=rate, duration_s=5)
    plan = replace(PLAN, rgb_cells=frozenset({2, 7}))
    frames = read(path, plan=plan).frames
    for snippet in range(7):
        for cell in plan.rgb_cells:
            assert held_rgb(frames, snippet * plan.hop + (cell + 1) * plan.cell - Fraction(1, 1000))
    assert sum(frame.rgb is not None for frame in frames) <= 2 * (5 / float(plan.hop) + 1)


def test_a_video_that_starts_after_the_rgb_cell_still_gives_its_snippet_a_picture(media: MediaFactory) -> None:
    source = media.flash_and_tone("flash.mp4")
    path = media.ffmpeg(
        "after_cell.mkv", "-i", source, "-itsoffset", "0.44", "-i", source,
        "-map", "0:a", "-map", "1:v", "-c", "copy",
    )  # fmt: skip
    frames = read(path).frames
    assert frames[0].time > 5 * PLAN.cell
    assert frames[0].rgb is not None


def test_a_plan_without_rgb_cells_converts_none(media: MediaFactory) -> None:
    plan = replace(PLAN, rgb_cells=frozenset())
    assert all(frame.rgb is None for frame in read(media.flash_and_tone("flash.mp4"), plan=plan).frames)


def test_what_is_not_wanted_is_not_read(media: MediaFactory) -> None:
    path = media.flash_and_tone("flash.mp4")
    deaf = read(path, plan=replace(PLAN, want_audio=False))
    assert not deaf.chunks
    assert deaf.codes == set()
    blind = read(path, plan=replace(PLAN, want_video=False))
    assert not blind.frames
    assert blind.codes == set()


def distance(part: np.ndarray, whole: np.ndarray, *, shift: int) -> float:
    """Largest difference of two waveforms, one of which may be up to ``shift`` samples late."""
    inner = slice(shift, part.size - shift)
    shifted = (np.roll(part, by)[inner] for by in range(-shift, shift + 1))
    return min(float(np.abs(candidate - whole[inner]).max()) for candidate in shifted)


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.ts", "long.avi"])
@pytest.mark.parametrize("start_s", [0.5, 4.0, 7.1])
def test_a_late_start_hands_out_what_a_full_run_does(media: MediaFactory, name: str, start_s: float) -> None:
    video = (*X264, *THREE_OF_FOUR_BETWEEN) if not name.endswith("avi") else ("-c:v", "mpeg4", "-g", "30", "-q:v", "5")
    path = media.flash_and_tone(
        name, video=video, duration_s=9, video_filter="noise=alls=20:allf=t",
        audio_filter="volume=2,aeval='val(0)+0.1*sin(700*t*t)'",
    )  # fmt: skip
    whole, part = read(path), read(path, start_s=start_s, duration_s=1.0)
    first = Fraction(str(start_s)) // PLAN.hop * PLAN.hop
    end = Fraction(str(start_s)) + 1
    wanted = [f for f in whole.frames if max(0, first - PLAN.hop) <= f.time and f.time + PLAN.cell < end]
    got = {f.time: f for f in part.frames}
    assert all(np.array_equal(got[frame.time].luma, frame.luma) for frame in wanted)
    assert max(got) < end
    assert part.chunks[0].time >= max(0, first - 1)
    assert part.waveform.size <= end * PLAN.rate_hz + 1
    heard = slice(int(max(0, first - 1) * PLAN.rate_hz) + 16, int(end * PLAN.rate_hz) - 16)
    # Matroska rounds timestamps to a millisecond, 16 samples.
    assert distance(part.waveform[heard], whole.waveform[heard], shift=8) < 0.05


def test_the_picture_on_show_at_a_late_start_is_handed_out(media: MediaFactory) -> None:
    path = media.flash_and_tone("one_fps_long.mp4", rate="1", duration_s=8, audio=())
    frames = read(path, start_s=4.0, duration_s=1.0).frames
    assert frames[0].time <= 4 - PLAN.hop
    assert frames[0].time + frames[0].hold > Fraction(16, 25) * 6 - PLAN.hop


@pytest.mark.parametrize(
    ("name", "rate", "length_s"), [("slow.mkv", "1/10", 60), ("slow.mp4", "1/4", 20), ("one.mp4", "1/5", 5)]
)
def test_the_last_picture_is_shown_for_its_own_duration(
    media: MediaFactory, name: str, rate: str, length_s: float
) -> None:
    contents = read(media.flash_and_tone(f"last_{name}", audio=(), rate=rate, duration_s=length_s))
    last = contents.frames[-1]
    assert float(last.time + last.duration) == pytest.approx(length_s, abs=0.01)
    assert last.hold >= last.duration
    assert contents.codes == {"no-audio"}


def test_a_hole_between_pictures_does_not_make_the_last_one_longer(media: MediaFactory) -> None:
    holey = "select='lt(t,5)',setpts='PTS+if(gt(N,62),600/TB,0)'"
    video = (*X264, "-fps_mode", "vfr", "-bf", "0")
    contents = read(media.flash_and_tone("holey.mp4", audio=(), video=video, video_filter=holey, duration_s=5))
    last = contents.frames[-1]
    assert contents.info.duration_s == pytest.approx(605, abs=0.1)
    assert float(last.time + last.duration) == pytest.approx(605, abs=0.1)


def test_size_may_change_on_the_way(media: MediaFactory) -> None:
    parts = [media.flash_and_tone(f"size{size}.ts", size=size, duration_s=2, audio=()) for size in ("160x120", "96x64")]
    path = media.folder / "sizes.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    contents = read(path)
    assert contents.times_s[-1] > 3.5
    with av.open(path) as container:
        assert {frame.width for frame in container.decode(video=0)} == {160, 96}
