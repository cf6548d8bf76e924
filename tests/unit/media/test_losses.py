"""Damaged and cut-off files are read as far as they go, and say how much was lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from avdetect.errors import MediaError
from tests.synth.media import EVENT_S, MediaFactory, read


def cut(media: MediaFactory, source: Path, share: float) -> Path:
    path = media.folder / f"cut_{source.name}"
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def with_flipped_bits(media: MediaFactory, source: Path, *, every_bytes: int) -> Path:
    path = media.folder / f"flipped_{source.name}"
    content = np.frombuffer(source.read_bytes(), np.uint8).copy()
    content[8000::every_bytes] ^= 0x55
    path.write_bytes(content.tobytes())
    return path


@pytest.fixture(scope="module")
def noisy(media: MediaFactory) -> dict[str, Path]:
    """Files with bytes enough to be damaged, the index in front."""
    noise = "noise=alls=20:allf=t"
    return {
        suffix: media.flash_and_tone(
            f"noisy.{suffix}", video_filter=noise, duration_s=4, size="320x240", options=options
        )
        for suffix, options in (("mp4", ("-movflags", "+faststart")), ("mkv", ()), ("ts", ()))
    }


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_truncated_file_says_how_much_is_missing(
    media: MediaFactory, noisy: dict[str, Path], suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = read(cut(media, noisy[suffix], 0.6))
    [note] = [note for note in contents.notes if note.code == "truncated"]
    assert note.time_s == pytest.approx(2.4, abs=0.5)
    assert "before the 4.0 s that it declares" in note.message
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.03)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_flipped_bits_are_survived_and_counted_in_one_note(
    media: MediaFactory, noisy: dict[str, Path], suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = read(with_flipped_bits(media, noisy[suffix], every_bytes=3001))
    assert contents.times_s[-1] > 3.5
    assert contents.waveform.size > 3 * 16_000
    assert np.isfinite(contents.waveform).all()
    assert [note.code for note in contents.notes].count("decode-errors") == 1
    assert capfd.readouterr().err == ""


def test_a_sound_file_is_not_called_truncated_for_an_estimated_length(media: MediaFactory) -> None:
    form = ("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0")
    source = media.flash_and_tone("plain-without-length.mp3", video=(), audio=form)
    assert read(cut(media, source, 0.5)).codes == {"no-video"}


MPEG4 = ("-c:v", "mpeg4", "-q:v", "5")
CUT = {
    "flac": ((), ("-c:a", "flac")),
    "mp3": ((), ("-c:a", "libmp3lame")),
    "wav": ((), ("-c:a", "pcm_s16le")),
    "w64": ((), ("-c:a", "pcm_s16le")),
    "aiff": ((), ("-c:a", "pcm_s16be")),
    "au": ((), ("-c:a", "pcm_s16be")),
    "caf": ((), ("-c:a", "pcm_s16be")),
    "tta": ((), ("-c:a", "tta")),
    "wv": ((), ("-c:a", "wavpack")),
    "ogg": ((), ("-c:a", "libvorbis")),
    "wma": ((), ("-c:a", "wmav2")),
    "asf": (MPEG4, ("-c:a", "mp2")),
    "avi": (MPEG4, ("-c:a", "mp2")),
    "flv": (("-c:v", "flv1"), ("-c:a", "libmp3lame", "-ar", "44100")),
    "mkv": (MPEG4, ("-c:a", "mp2")),
    "mxf": (("-c:v", "mpeg2video"), ("-c:a", "pcm_s16le")),
    "ts": (MPEG4, ("-c:a", "mp2")),
}


@pytest.mark.parametrize("suffix", CUT)
def test_a_file_that_was_cut_says_so_and_a_whole_one_does_not(media: MediaFactory, suffix: str) -> None:
    video, audio = CUT[suffix]
    source = media.flash_and_tone(f"whole.{suffix}", video=video, audio=audio, duration_s=9, audio_filter=NOISE)
    absent = set() if video else {"no-video"}
    assert read(source).codes == absent
    contents = read(cut(media, source, 0.333))
    assert "truncated" in contents.codes
    assert contents.codes <= absent | {"truncated", "decode-errors"}
    assert all("0.00 s" not in note.message for note in contents.notes)


NOISE = "aeval='val(0)+0.05*(random(0)-0.5)'"


def test_an_mp4_in_fragments_that_was_cut_says_so(media: MediaFactory) -> None:
    fragments = ("-movflags", "+frag_keyframe+empty_moov")
    source = media.flash_and_tone(
        "fragments.mp4", video_filter="noise=alls=20:allf=t", duration_s=6, audio_filter=NOISE, options=fragments
    )
    assert read(source).codes == set()
    assert "truncated" in read(cut(media, source, 0.5)).codes


def test_encrypted_media_are_refused_in_one_sentence(media: MediaFactory) -> None:
    key = "00112233445566778899aabbccddeeff"
    scheme = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key)
    path = media.flash_and_tone("locked.mp4", options=scheme)
    with pytest.raises(MediaError, match=r"locked\.mp4: is encrypted, and there is no key to it\."):
        read(path)


def test_what_cannot_be_decoded_at_all_is_refused_and_not_scored_as_noise(media: MediaFactory) -> None:
    source = media.flash_and_tone("readable.mkv", video=(), duration_s=6, audio_filter=NOISE)
    data = bytearray(source.read_bytes())
    with av.open(source) as container:
        for packet in container.demux():
            if packet.pos is not None and packet.size > 16 and packet.pts is not None and packet.pts > 100:
                content = data.index(bytes(packet), packet.pos)
                data[content : content + packet.size] = bytes(byte ^ 0xA5 for byte in bytes(packet))
    path = media.folder / "garbage.mkv"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="is encrypted or damaged: next to nothing of it can be decoded"):
        read(path)


@pytest.fixture(scope="module")
def playlist(media: MediaFactory) -> Path:
    """Twelve seconds of HLS in segments of two."""
    form = ("-hls_time", "2", "-hls_list_size", "0", "-g", "50")
    return media.flash_and_tone("six.m3u8", duration_s=12, options=form)


def without(playlist: Path, folder: Path, *numbers: int) -> Path:
    """A copy in which some of the segments are missing."""
    for file in playlist.parent.glob("six*"):
        if file.name not in {f"six{number}.ts" for number in numbers}:
            shutil.copy(file, folder)
    return folder / playlist.name


def segment_ends_s(playlist: Path) -> list[float]:
    return list(np.cumsum([float(length) for length in re.findall("#EXTINF:([0-9.]+)", playlist.read_text())]))


def test_missing_parts_of_a_playlist_are_said_and_move_no_times(playlist: Path, tmp_path: Path) -> None:
    begin_s, end_s = segment_ends_s(playlist)[1:3]
    contents = read(without(playlist, tmp_path, 2))
    messages = [note.message for note in contents.notes if note.code == "gap"]
    found = [re.search(r"for ([\d.]+) of 12\.\d s: from ([\d.]+) to ([\d.]+) s", message) for message in messages]
    assert len(found) == 2
    for match in found:
        assert match is not None, messages
        assert [float(value) for value in match.groups()] == pytest.approx([end_s - begin_s, begin_s, end_s], abs=0.15)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.05)


def test_a_missing_beginning_of_a_playlist_is_said_and_moves_no_times(playlist: Path, tmp_path: Path) -> None:
    whole, contents = read(playlist), read(without(playlist, tmp_path, 0))
    assert contents.times_s[-1] == pytest.approx(whole.times_s[-1], abs=0.1)
    assert contents.times_s[0] == pytest.approx(segment_ends_s(playlist)[0], abs=0.15)
    assert [note.time_s for note in contents.notes] == [0, 0]


def test_a_damaged_beginning_moves_no_times(media: MediaFactory) -> None:
    source = media.flash_and_tone(
        "begins.mp4", video=MPEG4, duration_s=6, options=("-movflags", "+faststart", "-g", "25")
    )
    data = bytearray(source.read_bytes())
    begin = data.index(b"mdat")
    with av.open(source) as container:
        for packet in container.demux():
            if packet.pts is not None and packet.pts * packet.time_base < 2:
                at = packet.pos
                assert at is not None
                assert at >= begin
                data[at : at + packet.size] = b"\xff" * packet.size
    path = media.folder / "bad_beginning.mp4"
    path.write_bytes(data)
    contents, whole = read(path), read(source)
    assert contents.times_s[-1] == pytest.approx(whole.times_s[-1], abs=0.01)
    assert {"decode-errors", "gap"} <= contents.codes


def test_a_playlist_without_its_end_mark_is_read_from_beginning_to_end(playlist: Path, tmp_path: Path) -> None:
    path = without(playlist, tmp_path)
    path.write_text(path.read_text().replace("#EXT-X-ENDLIST", ""))
    contents, whole = read(path), read(playlist)
    assert contents.tone_s == pytest.approx(whole.tone_s, abs=0.01)
    assert contents.times_s.tolist() == whole.times_s.tolist()


def test_encrypted_segments_without_their_key_are_refused(playlist: Path, tmp_path: Path) -> None:
    path = without(playlist, tmp_path)
    text = path.read_text().replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="gone.key"\n#EXTINF', 1)
    path.write_text(text)
    for segment in tmp_path.glob("*.ts"):
        segment.write_bytes(bytes(byte ^ 0xA5 for byte in segment.read_bytes()))
    with pytest.raises(MediaError, match="its segments are encrypted, and there is no key"):
        read(path)


def test_a_hole_of_hours_is_said(media: MediaFactory) -> None:
    hole = "setpts='PTS+if(gte(T,2),7200/TB,0)'"
    gap = "asetpts='PTS+if(gte(T,2),7200/TB,0)'"
    path = media.flash_and_tone(
        "hours.mkv", video=(*MPEG4, "-fps_mode", "vfr"), duration_s=4, video_filter=hole, audio_filter=gap,
        audio=("-c:a", "pcm_s16le"),
    )  # fmt: skip
    contents = read(path)
    assert contents.times_s[-1] == pytest.approx(7204, abs=0.1)
    assert [note.code for note in contents.notes] == ["gap", "gap"]
    assert "There is no sound for 7200.0 of 7204.0 s: from 2.0" in contents.notes[1].message
