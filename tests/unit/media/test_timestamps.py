"""Clocks that start anywhere, jump, wrap or are missing; streams that start late or end early."""

from __future__ import annotations

import random
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
    assert contents.codes == {"gap"}
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


def test_flac_of_odd_block_numbers_is_as_long_as_its_samples(tmp_path: Path) -> None:
    """Before 2007 blocks of several sizes were numbered one by one: FFmpeg takes the numbers for samples' times."""
    path = tmp_path / "old.flac"
    num_samples = write_old_flac(path, seconds=25)
    contents = read(path, plan=replace(PLAN, want_video=False))
    assert contents.codes == set()
    assert contents.holes_s == []
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(num_samples / 44_100, abs=0.01)


@pytest.mark.parametrize("delta_ms", [40_000, 3_000, -4_000])
def test_a_matroska_cluster_with_a_bad_timecode_moves_nothing(media: MediaFactory, delta_ms: int) -> None:
    good = media.flash_and_tone("clusters.mkv", duration_s=20)
    data = bytearray(good.read_bytes())
    third = [at for at in range(len(data)) if data.startswith(b"\x1f\x43\xb6\x75", at)][2]
    at = data.index(b"\xe7", third + 4)
    size = data[at + 1] & 0x7F
    stamp = int.from_bytes(data[at + 2 : at + 2 + size], "big") + delta_ms
    data[at + 2 : at + 2 + size] = stamp.to_bytes(size, "big")
    path = media.folder / f"bad_cluster{delta_ms}.mkv"
    path.write_bytes(data)
    contents, right = read(path), read(good)
    assert contents.times_s[-1] == pytest.approx(right.times_s[-1], abs=CELL_S)
    assert contents.waveform.size == pytest.approx(right.waveform.size, abs=0.05 * PLAN.rate_hz)
    assert 1 <= [note.code for note in contents.notes].count("timestamp-jump") <= 5


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_a_transport_stream_whose_timestamps_leap_is_no_longer_for_it(media: MediaFactory, share: float) -> None:
    good = media.flash_and_tone("steady.ts", duration_s=12)
    path = media.folder / f"leaping{share}.ts"
    path.write_bytes(with_wild_stamps(good.read_bytes(), share))
    contents = read(path)
    assert contents.times_s[-1] == pytest.approx(12, abs=0.5)
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(12, abs=0.5)
    assert 1 <= [note.code for note in contents.notes].count("timestamp-jump") <= 5


def with_wild_stamps(stream: bytes, share: float) -> bytes:
    """MPEG-TS with the timestamps of a share of its PES packets replaced by noise."""
    data, noise = bytearray(stream), random.Random(1)
    for begin in range(0, len(data) - 187, 188):
        pes = begin + 4 + (1 + data[begin + 4] if data[begin + 3] & 0x20 else 0)
        starts_media = data[begin + 1] & 0x40 and data[pes : pes + 3] == b"\0\0\1" and data[pes + 3] in (0xC0, 0xE0)
        if starts_media and noise.random() < share:
            for at in range(pes + 9, pes + 9 + 5 * (data[pes + 7] >> 6).bit_count(), 5):
                stamp = noise.getrandbits(33)
                data[at] = data[at] & 0xF0 | stamp >> 29 & 0xE | 1
                data[at + 1 : at + 3] = (stamp >> 14 & 0xFFFE | 1).to_bytes(2, "big")
                data[at + 3 : at + 5] = (stamp << 1 & 0xFFFE | 1).to_bytes(2, "big")
    return bytes(data)


def write_old_flac(path: Path, *, seconds: float) -> int:
    """Constant blocks of four sizes, numbered one by one; how many samples they hold."""
    blocks, total = [], 0
    sizes = ((3, 1152), (5, 4608), (2, 576), (4, 2304))
    while total < seconds * 44_100:
        code, size = sizes[len(blocks) % 4]
        header = bytes([0xFF, 0xF8, code << 4 | 9, 4 << 1]) + chr(len(blocks)).encode()
        header += bytes([crc(header, 0x07, 8)])
        block = header + bytes([0]) + (len(blocks) * 37 % 2000 - 1000).to_bytes(2, "big", signed=True)
        blocks.append(block + crc(block, 0x8005, 16).to_bytes(2, "big"))
        total += size
    info = (576).to_bytes(2, "big") + (4608).to_bytes(2, "big")
    info += min(map(len, blocks)).to_bytes(3, "big") + max(map(len, blocks)).to_bytes(3, "big")
    info += (44_100 << 44 | 15 << 36 | total).to_bytes(8, "big") + bytes(16)
    path.write_bytes(b"fLaC\x80" + len(info).to_bytes(3, "big") + info + b"".join(blocks))
    return total


def crc(data: bytes, polynomial: int, bits: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) & 1 else 0)) & ((1 << bits) - 1)
    return value
