"""Clocks that start anywhere, jump, wrap or are missing; streams that start late or end early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.synth.media import EVENT_S, PLAN, X264, MediaFactory, read

CELL_S = float(PLAN.cell)
WRAP_S = 2**33 / 90_000


def flash_ts(media: MediaFactory, name: str, offset_s: float) -> Path:
    options = ("-output_ts_offset", str(offset_s), "-muxdelay", "0", "-muxpreload", "0")
    return media.flash_and_tone(name, options=options, duration_s=2)


def joined(media: MediaFactory, name: str, *parts: Path) -> Path:
    path = media.folder / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def onsets_s(waveform: np.ndarray) -> list[float]:
    """Where the tone begins, each time that it does."""
    loud = np.flatnonzero(np.abs(waveform) > 0.1)
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-PLAN.rate_hz) > PLAN.rate_hz / 10)]
    return list(begins / PLAN.rate_hz)


def flashes_s(times_s: np.ndarray, brightness: np.ndarray) -> list[float]:
    bright = brightness > 128
    return list(times_s[1:][bright[1:] & ~bright[:-1]])


@pytest.mark.parametrize("offset_s", [1000.0, -3600.0])
def test_a_clock_that_jumps_is_repaired_and_noted_once(media: MediaFactory, offset_s: float) -> None:
    parts = [flash_ts(media, f"jump_{at}.ts", at) for at in (5000.0, 5000.0 + offset_s)]
    contents = read(joined(media, f"jump{offset_s:.0f}.ts", *parts))
    flashes, tones = flashes_s(contents.times_s, contents.brightness), onsets_s(contents.waveform)
    assert len(flashes) == len(tones) == 2
    assert flashes[1] == pytest.approx(2 + EVENT_S, abs=2 * CELL_S)
    # One shift for both streams: sound and picture stay together behind the jump.
    assert flashes[1] - tones[1] == pytest.approx(flashes[0] - tones[0], abs=CELL_S)
    assert [note.code for note in contents.notes] == ["timestamp-jump"]
    assert contents.notes[0].time_s == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("wraps_at_s", [0.7, 1.9])
def test_a_clock_that_wraps_goes_on(media: MediaFactory, wraps_at_s: float) -> None:
    contents = read(flash_ts(media, f"wrap{wraps_at_s}.ts", WRAP_S - wraps_at_s))
    assert contents.flash_s == pytest.approx(EVENT_S, abs=CELL_S + 0.03)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)
    assert contents.times_s[-1] < 2.1
    assert contents.codes == set()


def test_a_wrap_between_joined_recordings_is_no_jump(media: MediaFactory) -> None:
    before = flash_ts(media, "before_wrap.ts", WRAP_S - 2)
    contents = read(joined(media, "wrap_joined.ts", before, flash_ts(media, "after_wrap.ts", 0)))
    assert len(onsets_s(contents.waveform)) == 2
    assert contents.times_s[-1] == pytest.approx(4, abs=0.2)
    assert contents.codes == set()


def test_sound_that_pauses_in_a_transport_stream_leaves_a_hole_and_no_jump(media: MediaFactory) -> None:
    gated = "aselect='lt(t,1)+gte(t,13)'"
    path = media.flash_and_tone(
        "pause.ts", duration_s=14, rate="5", size="64x48", audio=("-c:a", "mp2"), audio_filter=gated
    )
    contents = read(path)
    assert contents.codes == set()
    [(start_s, length_s)] = [hole for hole in contents.holes_s if hole[1] > 1]
    assert start_s == pytest.approx(1, abs=0.1)
    assert length_s == pytest.approx(12, abs=0.1)


def test_a_hole_in_the_video_is_a_gap(media: MediaFactory) -> None:
    path = media.flash_and_tone(
        "hole.mp4", duration_s=4, audio=(), video=(*X264, "-fps_mode", "vfr"),
        video_filter="select='lt(t,1)+gte(t,3)'",
    )  # fmt: skip
    contents = read(path)
    [before] = [i for i, gap in enumerate(np.diff(contents.times_s)) if gap > 1]
    frame = contents.frames[before]
    assert frame.time + frame.hold < 2


@pytest.mark.parametrize("name", ["bare.h264", "bare.m4v"])
def test_video_without_timestamps_plays_at_its_frame_rate(media: MediaFactory, name: str) -> None:
    codec = X264 if name.endswith("h264") else ("-c:v", "mpeg4", "-q:v", "4", "-f", "m4v")
    contents = read(media.flash_and_tone(name, video=codec, audio=()))
    assert EVENT_S - 0.05 < contents.flash_s < EVENT_S + CELL_S
    assert contents.times_s[-1] == pytest.approx(3, abs=0.1)


def test_decoding_timestamps_stand_in_for_missing_presentation_timestamps(media: MediaFactory) -> None:
    """AVI stores none, and what FFmpeg makes up for reordered pictures goes back and forth."""
    contents = read(media.flash_and_tone("reordered.avi", video=X264, audio=("-c:a", "pcm_s16le")))
    assert np.all(np.diff(contents.times_s) > 0)
    assert len(contents.frames) >= 36
    assert contents.flash_s - contents.tone_s < 2 * CELL_S


def test_a_clock_that_starts_below_zero_starts_at_the_origin(media: MediaFactory) -> None:
    source = media.flash_and_tone("flash.mp4")
    shift = ("-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled")
    contents = read(media.ffmpeg("negative.ts", "-i", source, "-c", "copy", "-muxdelay", "0", *shift))
    assert contents.info.origin_s < -0.4
    assert contents.frames[0].time < CELL_S + 0.03
    assert contents.flash_s - contents.tone_s < CELL_S
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)


def test_an_edit_list_is_obeyed(media: MediaFactory) -> None:
    source = media.flash_and_tone("flash.mp4")
    contents = read(media.ffmpeg("edited.mp4", "-ss", "0.52", "-i", source, "-c", "copy"))
    assert contents.flash_s == pytest.approx(EVENT_S - 0.52, abs=CELL_S)
    assert contents.tone_s == pytest.approx(EVENT_S - 0.52, abs=0.03)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_sound_that_starts_late_is_heard_late(media: MediaFactory, name: str) -> None:
    source = media.flash_and_tone("flash.mp4")
    path = media.ffmpeg(name, "-i", source, "-itsoffset", "2", "-i", source, "-map", "0:v", "-map", "1:a", "-c", "copy")
    contents = read(path)
    assert contents.frames[0].time < CELL_S
    assert float(contents.chunks[0].time) == pytest.approx(2, abs=0.1)
    assert contents.tone_s == pytest.approx(2 + EVENT_S, abs=0.1)
    assert EVENT_S <= contents.flash_s < EVENT_S + 2 * CELL_S


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_sound_that_is_read_alone_keeps_the_clock_of_the_pictures(media: MediaFactory, name: str) -> None:
    source = media.flash_and_tone("flash.mp4")
    path = media.ffmpeg(name, "-i", source, "-itsoffset", "2", "-i", source, "-map", "0:v", "-map", "1:a", "-c", "copy")
    both, alone = read(path), read(path, plan=replace(PLAN, want_video=False))
    assert alone.frames == []
    assert [chunk.time for chunk in alone.chunks] == [chunk.time for chunk in both.chunks]
    assert alone.tone_s == both.tone_s


def test_video_that_starts_late_does_not_move_the_sound(media: MediaFactory) -> None:
    source = media.flash_and_tone("flash.mp4")
    path = media.ffmpeg(
        "late_video.mkv", "-i", source, "-itsoffset", "2", "-i", source,
        "-map", "0:a", "-map", "1:v", "-c", "copy",
    )  # fmt: skip
    contents = read(path)
    assert contents.times_s[0] == pytest.approx(2, abs=CELL_S + 0.03)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)


def test_sound_that_ends_early_does_not_end_the_video(media: MediaFactory) -> None:
    contents = read(media.flash_and_tone("early.mp4", audio_filter="atrim=end=1.5"))
    assert contents.times_s[-1] > 2.9
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(1.5, abs=0.05)
    assert contents.codes == set()


def test_the_clock_of_the_sound_does_not_drift(media: MediaFactory) -> None:
    """Sound from a device whose clock is 2 % slow: the timestamps are right, the sample count is not."""
    path = media.flash_and_tone("drift.mkv", audio=("-c:a", "pcm_s16le"), audio_filter="asetpts=PTS*1.02")
    contents = read(path)
    assert contents.tone_s == pytest.approx(EVENT_S * 1.02, abs=0.04)
    assert np.abs(contents.waveform[-PLAN.rate_hz // 2 :]).max() < 0.1
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(3 * 1.02, abs=0.06)
