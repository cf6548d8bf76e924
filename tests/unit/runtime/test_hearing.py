from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import avdetect
from avdetect.errors import MediaError
from avdetect.features.encoding import Progress
from avdetect.runtime.hearing import Ears
from avdetect.search.corpus import Corpus
from tests.synth.media import MediaFactory


@pytest.fixture(scope="module")
def ears() -> Ears:
    return Ears.open(device="cpu", num_threads=1)


@pytest.mark.parametrize("late", ["sound", "pictures"])
def test_what_is_heard_has_the_times_of_what_is_scored(ears: Ears, media: MediaFactory, late: str) -> None:
    source = media.flash_and_tone("flash.mp4")
    order = ("-map", "0:v", "-map", "1:a") if late == "sound" else ("-map", "0:a", "-map", "1:v")
    path = media.ffmpeg(f"hear_{late}.mkv", "-i", source, "-itsoffset", "2", "-i", source, *order, "-c", "copy")
    curve = avdetect.score(path, bundle=avdetect.Bundle.load(device="cpu")).curve
    heard = ears.hear(path)
    borders_s = Corpus.of([("", heard.trace, heard.end_s)], hop=ears.manifest.hop, joint_dim=128).times_s(0)
    seen_only = len(curve.start_s) - len(heard.trace.present)  # pictures may go on when the sound has ended
    assert seen_only >= 0
    assert not curve.present[len(heard.trace.present) :, 0].any()
    np.testing.assert_array_equal(heard.trace.present, curve.present[: len(heard.trace.present), 0])
    np.testing.assert_allclose(borders_s[:-1], curve.start_s[: len(heard.trace.present)])


def test_pictures_make_no_difference(ears: Ears, media: MediaFactory) -> None:
    video = media.flash_and_tone("flash.mp4")
    sound = media.ffmpeg("flash_alone.m4a", "-i", video, "-vn", "-c", "copy")
    seen, unseen = ears.hear(video), ears.hear(sound)
    np.testing.assert_allclose(seen.trace.vectors, unseen.trace.vectors, atol=1e-5)
    np.testing.assert_allclose(seen.trace.salience, unseen.trace.salience, atol=1e-4)


def test_a_recording_is_heard_in_parts_as_it_is_as_a_whole(ears: Ears, media: MediaFactory) -> None:
    path = media.flash_and_tone("long.m4a", video=(), duration_s=50.0, audio_filter="aeval='val(0)+0.1*sin(700*t*t)'")
    heard = ears.hear(path)
    assert len(heard.trace.present) == 79  # more than the alignment takes at once
    assert heard.end_s == pytest.approx(50, abs=0.05)
    np.testing.assert_allclose(np.linalg.norm(heard.trace.vectors, axis=1), 1, atol=1e-4)
    again = ears.hear(path)
    np.testing.assert_array_equal(heard.trace.vectors, again.trace.vectors)


def test_a_video_without_sound_leaves_nothing_behind(ears: Ears, media: MediaFactory) -> None:
    heard = ears.hear(media.flash_and_tone("mute.mp4", audio=()))
    assert heard.trace.vectors.shape == (0, ears.sound.spec.joint_dim)
    assert heard.end_s == 0


def test_what_is_no_recording_is_an_error(ears: Ears, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(MediaError, match="text.mp4"):
        ears.hear(tmp_path / "text.mp4")
    with pytest.raises(MediaError, match="missing.mp4"):
        ears.hear(tmp_path / "missing.mp4")


def test_who_watches_may_end_it(ears: Ears, media: MediaFactory) -> None:
    def stop(progress: Progress) -> None:
        assert progress.total_s == pytest.approx(600, abs=1)
        raise KeyboardInterrupt

    path = media.ffmpeg("hear_long.wav", "-f", "lavfi", "-i", "anoisesrc=r=16000:d=600:a=0.1")
    with pytest.raises(KeyboardInterrupt):
        ears.hear(path, on_progress=stop)
