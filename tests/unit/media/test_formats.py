"""Every kind of file lands on the grid: the flash in its cell, the tone at its sample."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from tests.synth.media import AAC, EVENT_S, PLAN, X264, Contents, MediaFactory, read

CELL_S = float(PLAN.cell)
MPEG4 = ("-c:v", "mpeg4", "-q:v", "5")
PCM = ("-c:a", "pcm_s16le")


def assert_event_in_place(contents: Contents, *, sound_within_s: float = 0.003) -> None:
    assert EVENT_S - 1e-3 <= contents.flash_s < EVENT_S + CELL_S
    assert contents.last_dark_s < EVENT_S
    assert contents.tone_s == pytest.approx(EVENT_S, abs=sound_within_s)


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("flash.mp4", X264, AAC),
        ("flash.mkv", X264, AAC),
        ("flash.ts", X264, AAC),
        ("flash.avi", MPEG4, PCM),
        ("flash.flv", X264, AAC),
        ("flash.mov", MPEG4, PCM),
        ("flash.webm", ("-c:v", "libvpx", "-deadline", "realtime"), ("-c:a", "libopus")),
        ("flash.mpg", ("-c:v", "mpeg2video"), ("-c:a", "mp2")),
        ("mp3.mp4", X264, ("-c:a", "libmp3lame")),
        ("ac3.ts", X264, ("-c:a", "ac3")),
    ],
)
def test_picture_and_sound_are_on_one_clock(
    media: MediaFactory, name: str, video: tuple[str, ...], audio: tuple[str, ...]
) -> None:
    contents = read(media.flash_and_tone(name, video=video, audio=audio))
    # Encoders of sound smear an onset a little ahead; MP3 and the MPEG containers keep no exact start either.
    # The origin is the earlier of the streams' starts, which some of the containers put a few ms before the picture.
    assert contents.flash_s - contents.tone_s == pytest.approx(0, abs=CELL_S + 0.03)
    assert contents.flash_s - CELL_S - 0.041 < EVENT_S <= contents.flash_s + 0.03
    assert contents.codes == set()


@pytest.mark.parametrize("name", ["exact.mp4", "exact.mkv", "exact.ts", "exact.avi"])
def test_a_flash_and_a_tone_are_found_to_the_cell_and_the_millisecond(media: MediaFactory, name: str) -> None:
    video, audio = (MPEG4, PCM) if name.endswith((".avi", ".mkv")) else (X264, AAC)
    contents = read(media.flash_and_tone(name, video=video, audio=audio))
    skew_s = contents.last_dark_s - EVENT_S + 0.04  # of the picture, where the sound's priming starts the clock
    assert contents.tone_s - skew_s == pytest.approx(EVENT_S, abs=0.045)
    assert contents.flash_s - contents.tone_s < CELL_S


@pytest.mark.parametrize(
    ("name", "pixels", "codec"),
    [
        ("yuv420p10.mkv", "yuv420p10le", ("-c:v", "libx264")),
        ("yuv444p.mkv", "yuv444p", ("-c:v", "libx264")),
        ("gray.mkv", "gray", ("-c:v", "ffv1")),
        ("vp9alpha.webm", "yuva420p", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")),
        ("prores4444.mov", "yuva444p10le", ("-c:v", "prores_ks", "-profile:v", "4444")),
        ("png.mov", "rgba", ("-c:v", "png")),
        ("rgb.avi", "bgr24", ("-c:v", "rawvideo")),
        ("mjpeg.avi", "yuvj422p", ("-c:v", "mjpeg")),
    ],
)
def test_every_pixel_format_is_read(media: MediaFactory, name: str, pixels: str, codec: tuple[str, ...]) -> None:
    path = media.flash_and_tone(
        name, video=(*codec, "-pix_fmt", pixels), audio=(), duration_s=2, video_filter=f"format={pixels}"
    )
    contents = read(path)
    assert EVENT_S <= contents.flash_s < EVENT_S + CELL_S
    assert contents.brightness.max() > 230
    assert contents.brightness.min() < 5
    assert contents.codes == {"no-audio"}


def test_interlaced_video_is_read(media: MediaFactory) -> None:
    video = (*X264, "-flags", "+ilme+ildct")
    contents = read(media.flash_and_tone("interlaced.mp4", video=video, video_filter="setfield=tff"))
    assert_event_in_place(contents)


@pytest.mark.parametrize("size", ["161x121", "33x241"])
def test_odd_sizes_are_read(media: MediaFactory, size: str) -> None:
    path = media.flash_and_tone(
        f"odd{size}.mkv",
        video=("-c:v", "libx264", "-pix_fmt", "yuv444p"),
        audio=(),
        size="320x320",
        video_filter=f"format=yuv444p,scale={size.replace('x', ':')}",
    )
    contents = read(path)
    assert (contents.info.width, contents.info.height) == tuple(map(int, size.split("x")))
    assert contents.frames[0].luma.shape == PLAN.luma_size
    assert EVENT_S <= contents.flash_s < EVENT_S + CELL_S


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_ffmpeg_turns_them(media: MediaFactory, degrees: int) -> None:
    left_edge = "drawbox=w=40:c=white:t=fill"
    coded = media.flash_and_tone("edge.mp4", audio=(), duration_s=1, video_filter=left_edge)
    path = media.ffmpeg(f"turned{degrees}.mp4", "-display_rotation", str(degrees), "-i", coded, "-c", "copy")
    shown = read(media.ffmpeg(f"shown{degrees}.mkv", "-i", path, "-c:v", "ffv1"))
    contents = read(path)
    assert shown.info.rotation == 0
    assert contents.info.rotation == (-degrees) % 360  # the option counts the other way round
    assert (contents.info.width, contents.info.height) == (shown.info.width, shown.info.height)
    difference = contents.frames[0].luma.astype(int) - shown.frames[0].luma
    assert np.abs(difference).mean() < 3


def test_one_picture_a_second_is_on_show_all_the_time(media: MediaFactory) -> None:
    contents = read(media.flash_and_tone("one_fps.mp4", rate="1", duration_s=4, audio=()))
    assert contents.times_s.tolist() == [0, 1, 2, 3]
    assert all(frame.rgb is not None for frame in contents.frames)
    assert all(frame.hold >= 1 for frame in contents.frames)


def test_120_pictures_a_second_give_one_for_each_cell(media: MediaFactory) -> None:
    contents = read(media.flash_and_tone("fast.mp4", rate="120"))
    cells = [frame.time // PLAN.cell for frame in contents.frames]
    assert cells == list(range(38))
    assert_event_in_place(contents)


def test_variable_frame_rate_keeps_its_times(media: MediaFactory) -> None:
    # 25 pictures in the first second, 5 in each of the next two.
    chosen = "select='lt(t,1)+not(mod(n,5))'"
    path = media.flash_and_tone(
        "vfr.mp4", video=(*X264, "-fps_mode", "vfr"), audio=AAC, video_filter=chosen, duration_s=3
    )
    contents = read(path)
    late = contents.times_s[contents.times_s > 1.01]
    assert np.diff(late) == pytest.approx(0.2)
    assert contents.flash_s == pytest.approx(EVENT_S)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.003)


def test_video_without_sound_and_sound_without_video_are_read_with_a_note(media: MediaFactory) -> None:
    silent = read(media.flash_and_tone("silent.mp4", audio=()))
    assert silent.codes == {"no-audio"}
    assert not silent.chunks
    assert silent.info.audio_codec is None
    blind = read(media.flash_and_tone("blind.m4a", video=()))
    assert blind.codes == {"no-video"}
    assert not blind.frames
    assert blind.tone_s == pytest.approx(EVENT_S, abs=0.003)


def test_cover_art_is_not_video(media: MediaFactory) -> None:
    cover = media.ffmpeg("cover.png", "-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1")
    sound = media.flash_and_tone("plain.mp3", video=(), audio=("-c:a", "libmp3lame"))
    path = media.ffmpeg(
        "covered.mp3", "-i", sound, "-i", cover, "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v", "attached_pic",
    )  # fmt: skip
    contents = read(path)
    assert contents.codes == {"no-video"}
    assert not contents.frames


def test_the_info_says_what_the_file_holds(media: MediaFactory) -> None:
    info = read(media.flash_and_tone("flash.mp4")).info
    assert (info.video_codec, info.width, info.height, info.frame_rate_hz) == ("h264", 160, 120, 25.0)
    assert (info.audio_codec, info.audio_rate_hz, info.audio_channels) == ("aac", 48_000, 1)
    assert info.duration_s == pytest.approx(3.0, abs=0.05)
    assert len(info.audio_tracks) == 1


MATRICES = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]
CORNERS = (
    "color=black:s=320x240:r=25:d=1,drawbox=x=0:y=0:w=160:h=120:c=red:t=fill,"
    "drawbox=x=160:y=0:w=160:h=120:c=white:t=fill,drawbox=x=0:y=120:w=160:h=120:c=blue:t=fill"
)


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_every_display_matrix_is_obeyed_as_ffmpeg_does(media: MediaFactory, matrix: tuple[int, ...]) -> None:
    coded = media.ffmpeg("corners.mp4", "-f", "lavfi", "-i", CORNERS, *X264)
    data = bytearray(coded.read_bytes())
    header = data.index(b"tkhd")
    at = header + 24 + (32 if data[header + 4] else 20)  # after version, times, identity, duration, layer ...
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = media.folder / f"matrix{matrix}.mp4"
    path.write_bytes(data)
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-frames:v", "1", "-vf", "scale=32:32"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(32, 32, 3)
    contents = read(path, plan=replace(PLAN, rgb_cells=frozenset(range(8))))
    assert contents.frames[0].rgb is not None
    difference = np.abs(contents.frames[0].rgb.astype(int) - shown)
    assert difference[4:12, 4:12].max() < 24
    assert difference.mean() < 8
    transposed = matrix[0] == 0
    assert (contents.info.width, contents.info.height) == ((240, 320) if transposed else (320, 240))
