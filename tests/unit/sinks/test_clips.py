from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from avdetect.errors import MediaError, OutputError
from avdetect.events.event import Event
from avdetect.sinks.clips import cut_clips
from tests.synth.media import EVENT_LENGTH_S, EVENT_S, X264, MediaFactory

MARGIN_S = 0.5
EVENT = Event("gunshot", EVENT_S, EVENT_S + EVENT_LENGTH_S, EVENT_S + 0.1, 0.9, "both")
NO_B_FRAMES = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "15", "-bf", "0")
ONE_KEYFRAME = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "999", "-bf", "2")
VP8 = ("-c:v", "libvpx", "-b:v", "300k", "-g", "12", "-deadline", "realtime", "-cpu-used", "8")
VP9 = ("-c:v", "libvpx-vp9", "-b:v", "300k", "-g", "12", "-deadline", "realtime", "-cpu-used", "8")
OPUS = ("-c:a", "libopus", "-b:a", "64k")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "4", "-g", "12", "-bf", "2")
MP3 = ("-c:a", "libmp3lame")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "4", "-g", "12", "-bf", "2")
MP2 = ("-c:a", "mp2")

SOURCES = [
    pytest.param("clip-b-frames.mp4", X264, None, (), id="mp4-b-frames"),
    pytest.param("clip-one-keyframe.mp4", ONE_KEYFRAME, None, (), id="mp4-one-keyframe"),
    pytest.param("clip.mkv", X264, None, (), id="mkv-h264"),
    pytest.param("clip.ts", X264, None, (), id="ts-h264"),
    pytest.param("clip-mpeg2.ts", MPEG2, MP2, (), id="ts-mpeg2"),
    pytest.param("clip.avi", NO_B_FRAMES, MP3, (), id="avi-h264"),
    pytest.param("clip-b.avi", MPEG4, MP3, (), id="avi-mpeg4-b-frames"),
    pytest.param("clip-vp9.webm", VP9, OPUS, (), id="webm-vp9"),
    pytest.param("clip-late.mkv", X264, None, ("-output_ts_offset", "7.25"), id="mkv-that-starts-late"),
]


def start_s(path: Path) -> float:
    """Of the earlier stream, as the grid's origin has it."""
    with av.open(str(path)) as container:
        return float(min((s.start_time or 0) * s.time_base for s in container.streams))


def pictures(path: Path) -> list[tuple[float, float]]:
    """Time and mean luma of each picture that a player shows."""
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), float(frame.to_ndarray(format="gray").mean()))
            for frame in container.decode(video=0)
        ]


def flash_s(path: Path) -> float:
    return next(time for time, luma in pictures(path) if luma > 128)


def tone_s(path: Path) -> float:
    """Time of the first loud sample."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float64).reshape(-1, frame.samples if frame.format.is_planar else 1)
            wave = samples[0] if frame.format.is_planar else samples[:: frame.layout.nb_channels, 0]
            scale = 1.0 if frame.format.name.startswith("flt") else 32768.0
            loud = np.flatnonzero(np.abs(wave) / scale > 0.1)
            if loud.size:
                return float(frame.pts * frame.time_base) + float(loud[0]) / frame.sample_rate
    raise AssertionError("no tone")


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return container.duration / 1_000_000


@pytest.mark.parametrize(("name", "video", "audio", "options"), SOURCES)
def test_the_event_is_in_the_clip_after_its_margin_in_picture_and_sound(
    media: MediaFactory,
    tmp_path: Path,
    name: str,
    video: Sequence[str],
    audio: Sequence[str] | None,
    options: Sequence[str],
) -> None:
    sound = ("-c:a", "aac", "-b:a", "96k") if audio is None else audio
    source = media.flash_and_tone(name, video=video, audio=sound, options=options)
    origin_s = start_s(source)

    (clip,) = cut_clips(source, [EVENT], tmp_path, margin_s=MARGIN_S, origin_s=origin_s)

    assert clip.suffix == ".mp4"
    starts_s = max(time for time, _ in pictures(source) if time <= origin_s + EVENT_S - MARGIN_S + 1e-6)
    assert flash_s(clip) == pytest.approx(flash_s(source) - starts_s, abs=0.002)
    assert tone_s(clip) == pytest.approx(tone_s(source) - starts_s, abs=0.025)
    assert pictures(clip)[0][0] == pytest.approx(0.0, abs=0.041)
    assert 0.0 <= duration_s(clip) - (2 * MARGIN_S + EVENT_LENGTH_S) < 0.3  # B-frames bring their successors along


def test_what_mp4_does_not_carry_goes_to_matroska_from_its_keyframe(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-vp8.webm", video=VP8, audio=OPUS)

    (clip,) = cut_clips(source, [EVENT], tmp_path, margin_s=MARGIN_S)

    assert clip.suffix == ".mkv"
    lead_s = flash_s(clip) - MARGIN_S
    assert 0.0 <= lead_s < 12 / 25 + 0.01
    assert tone_s(clip) == pytest.approx(flash_s(clip), abs=0.03)


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp3", MP3), ("clip.m4a", ("-c:a", "aac")), ("clip.wav", ("-c:a", "pcm_s16le"))]
)
def test_sound_alone_is_cut(media: MediaFactory, tmp_path: Path, name: str, codec: Sequence[str]) -> None:
    source = media.flash_and_tone(name, video=(), audio=codec)

    (clip,) = cut_clips(source, [EVENT], tmp_path, margin_s=MARGIN_S, origin_s=start_s(source))

    before_s = tone_s(source) - start_s(source) - (EVENT_S - MARGIN_S)
    assert tone_s(clip) == pytest.approx(before_s, abs=0.06 if clip.suffix == ".mp4" else 0.2)


def test_a_clip_begins_with_a_keyframe_and_every_picture_decodes(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")
    late = Event("scream", 2.0, 2.4, 2.2, 0.8, "audio")

    (clip,) = cut_clips(source, [late], tmp_path, margin_s=0.3)

    with av.open(str(clip)) as container:
        first = next(packet for packet in container.demux(video=0) if packet.size)
        assert first.is_keyframe
    shown = [time for time, _ in pictures(clip)]
    assert len(shown) == pytest.approx(25 * 1.0, abs=4)
    assert np.diff(shown) == pytest.approx(0.04, abs=1e-3)


def test_what_is_copied_is_the_very_stream(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")

    (clip,) = cut_clips(source, [EVENT], tmp_path, margin_s=MARGIN_S)

    def payloads(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert set(payloads(clip)) <= set(payloads(source))


def test_margins_are_cut_short_where_the_source_begins_and_ends(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")
    whole = Event("siren", 0.1, 2.9, 1.0, 0.7, "both")

    (clip,) = cut_clips(source, [whole], tmp_path, margin_s=10.0)

    assert duration_s(clip) == pytest.approx(duration_s(source), abs=0.1)
    assert flash_s(clip) == pytest.approx(EVENT_S, abs=0.002)


def test_rotation_is_kept(media: MediaFactory, tmp_path: Path) -> None:
    straight = media.flash_and_tone("clip-b-frames.mp4")
    source = media.folder / "clip-turned.mp4"
    media.ffmpeg(source.name, "-display_rotation", "-90", "-i", straight, "-c", "copy")

    (clip,) = cut_clips(source, [EVENT], tmp_path)

    def rotation(path: Path) -> int:
        with av.open(str(path)) as container:
            return next(container.decode(video=0)).rotation

    assert rotation(clip) == rotation(source) != 0


def test_every_audio_track_is_kept_and_a_cover_picture_is_no_film(media: MediaFactory, tmp_path: Path) -> None:
    film = media.flash_and_tone("clip-b-frames.mp4")
    two = media.ffmpeg("clip-two.mkv", "-i", film, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy")
    sound = media.flash_and_tone("clip.m4a", video=(), audio=("-c:a", "aac"))
    cover = media.ffmpeg("cover.png", "-f", "lavfi", "-i", "color=red:s=32x32", "-frames:v", "1")
    covered = media.ffmpeg(
        "covered.m4a",
        "-i",
        sound,
        "-i",
        cover,
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v",
        "attached_pic",
    )

    def kinds(path: Path) -> list[str]:
        with av.open(str(path)) as container:
            return [stream.type for stream in container.streams]

    assert kinds(cut_clips(two, [EVENT], tmp_path)[0]) == ["video", "audio", "audio"]
    assert kinds(cut_clips(covered, [EVENT], tmp_path)[0]) == ["audio"]


def test_names_tell_source_time_and_class_and_sort_by_time(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")
    events = [
        Event(label, start, start + 0.2, start, 0.5, "both") for label, start in (("a/b c", 0.48), ("siren", 1.92))
    ]

    clips = cut_clips(source, events, tmp_path / "new" / "folder", stem="día <1>")

    assert [clip.name for clip in clips] == ["día-1_00h00m00.480s_a-b-c.mp4", "día-1_00h00m01.920s_siren.mp4"]
    assert sorted(clips) == clips
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [clip.name for clip in clips]


def test_events_that_would_share_a_name_get_one_each(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")
    twin = Event("gun shot", EVENT_S, EVENT_S + 0.2, EVENT_S, 0.5, "both")
    other = Event("gun-shot", EVENT_S, EVENT_S + 0.3, EVENT_S, 0.5, "both")

    numbered = Event("Gun-shot_2", EVENT_S, EVENT_S + 0.3, EVENT_S, 0.5, "both")

    clips = cut_clips(source, [numbered, twin, other, twin], tmp_path, stem="x" * 400)

    assert len({clip.name.casefold() for clip in clips}) == 4
    assert all(len(os.fsencode(clip.name)) <= 220 and clip.is_file() for clip in clips)


def test_clips_of_an_earlier_run_are_replaced(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")

    first = cut_clips(source, [EVENT], tmp_path)
    second = cut_clips(source, [EVENT], tmp_path)

    assert first == second
    assert list(tmp_path.iterdir()) == first


def test_without_events_nothing_is_opened_or_made(tmp_path: Path) -> None:
    assert cut_clips(tmp_path / "missing.mp4", [], tmp_path / "clips") == []
    assert not (tmp_path / "clips").exists()


def test_a_source_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(MediaError, match="pipe is missing or no regular file"):
        cut_clips(tmp_path / "pipe", [EVENT], tmp_path / "clips")


def test_a_file_that_is_no_media_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")

    with pytest.raises(MediaError, match=r"cannot cut clips from .*text\.mp4: "):
        cut_clips(tmp_path / "text.mp4", [EVENT], tmp_path / "clips")


def test_an_event_after_the_end_of_the_source_is_an_error_without_a_file(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")

    with pytest.raises(MediaError, match=r"nothing was found at 99\.000 s"):
        cut_clips(source, [Event("siren", 100.0, 101.0, 100.5, 0.5, "audio")], tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(media: MediaFactory, tmp_path: Path) -> None:
    source = media.flash_and_tone("clip-b-frames.mp4")
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="is not a folder"):
        cut_clips(source, [EVENT], tmp_path / "file" / "clips")
