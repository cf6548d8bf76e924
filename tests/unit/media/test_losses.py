"""Damaged and cut-off files are read as far as they go, and say how much was lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
    source = media.flash_and_tone("plain.mp3", video=(), audio=("-c:a", "libmp3lame"))
    assert read(cut(media, source, 0.5)).codes == {"no-video"}
