"""The whole path from a file to its events, as a Python user calls it."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest

import avdetect
from avdetect.errors import MediaError, UsageError
from avdetect.features.encoding import Progress
from avdetect.manifest import EventRule, Manifest
from avdetect.media.source import open_source
from avdetect.runtime.pipeline import ScoreOptions, ScoreResult
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import Snippet, stream_plan
from avdetect.stage import through
from avdetect.timebase import as_seconds
from tests.synth.media import X264, MediaFactory

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
SCORE_ARRAYS = ("scores", "audio_scores", "visual_scores")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle() -> avdetect.Bundle:
    return avdetect.Bundle.load(device="cpu")


@pytest.fixture(scope="module")
def whole(bundle: avdetect.Bundle) -> ScoreResult:
    return avdetect.score(DEMO, bundle=bundle)


def assert_same_scores(one: ScoreResult, other: ScoreResult) -> None:
    np.testing.assert_array_equal(one.curve.start_s, other.curve.start_s)
    np.testing.assert_array_equal(one.curve.present, other.curve.present)
    for name in SCORE_ARRAYS:
        np.testing.assert_allclose(getattr(one.curve, name), getattr(other.curve, name), atol=TOLERANCE)


def test_every_snippet_is_scored_once_and_in_order(whole: ScoreResult) -> None:
    hop_s = 0.64
    count = whole.stats.num_snippets
    np.testing.assert_allclose(whole.curve.start_s, np.arange(count) * hop_s)
    np.testing.assert_allclose(whole.curve.end_s[:-1], whole.curve.start_s[1:])
    assert whole.media.duration_s == pytest.approx(whole.curve.end_s[-1], abs=0.1)
    for name in SCORE_ARRAYS:
        scores = getattr(whole.curve, name)
        assert scores.shape == (count, len(whole.curve.classes))
        assert np.all((scores >= 0) & (scores <= 1))


def test_the_demo_clip_has_a_gunshot_where_it_is_heard(whole: ScoreResult) -> None:
    shots = [event for event in whole.events if event.class_name == "gunshot"]
    assert shots, whole.events
    assert all(0 <= event.start_s <= event.peak_s <= event.end_s for event in whole.events)
    assert shots[0].modality in ("audio", "both")


@pytest.mark.parametrize("batch_snippets", [1, 3, 32])
def test_scores_do_not_depend_on_the_batch(bundle: avdetect.Bundle, whole: ScoreResult, batch_snippets: int) -> None:
    assert_same_scores(whole, avdetect.score(DEMO, bundle=bundle, options=ScoreOptions(batch_snippets=batch_snippets)))


def test_scores_do_not_depend_on_the_decoders_threads(bundle: avdetect.Bundle, whole: ScoreResult) -> None:
    assert_same_scores(whole, avdetect.score(DEMO, bundle=bundle, options=ScoreOptions(decoder_threads=1)))


def test_two_runs_give_the_same_numbers(bundle: avdetect.Bundle, whole: ScoreResult) -> None:
    again = avdetect.score(DEMO, bundle=bundle)
    for name in SCORE_ARRAYS:
        np.testing.assert_array_equal(getattr(whole.curve, name), getattr(again.curve, name))
    assert again.events == whole.events


def test_the_iterator_gives_the_scores_of_the_result(bundle: avdetect.Bundle, whole: ScoreResult) -> None:
    with avdetect.stream(DEMO, bundle=bundle) as scores:
        assert scores.media == whole.media
        np.testing.assert_array_equal([row.scores for row in scores], whole.curve.scores)


def test_the_embedded_bundle_needs_no_mention(whole: ScoreResult) -> None:
    assert avdetect.score(DEMO).events == whole.events


def test_a_part_is_scored_on_the_grid_of_the_whole(bundle: avdetect.Bundle) -> None:
    part = avdetect.score(DEMO, bundle=bundle, options=ScoreOptions(start_s=4.0, duration_s=6.0))
    assert part.curve.start_s[0] == pytest.approx(6 * 0.64)
    assert part.curve.end_s[-1] == pytest.approx(10.0, abs=0.05)


def test_the_encoders_see_the_same_of_a_part_as_of_the_whole(bundle: avdetect.Bundle) -> None:
    whole, part = _snippets(bundle.manifest), _snippets(bundle.manifest, start_s=4.0, duration_s=6.0)
    assert min(part) == 6
    for index in sorted(part)[:-1]:  # the last one is cut short
        for name in ("luma", "luma_time_s", "waveform"):
            np.testing.assert_array_equal(getattr(part[index], name), getattr(whole[index], name))


def _snippets(manifest: Manifest, *, start_s: float = 0.0, duration_s: float | None = None) -> dict[int, Snippet]:
    plan = stream_plan(manifest)
    with open_source(DEMO, plan, start_s=start_s, duration_s=duration_s) as media:
        assembler = SnippetAssembler(manifest, first_index=int(as_seconds(start_s) / plan.hop))
        return {snippet.index: snippet for snippet in through(media.packets(), assembler)}


def test_progress_ends_near_the_whole(bundle: avdetect.Bundle) -> None:
    seen: list[Progress] = []
    rows = []
    result = avdetect.score(DEMO, bundle=bundle, on_progress=seen.append, on_score=rows.append)
    assert len(rows) == result.stats.num_snippets
    assert all(before.done_s <= after.done_s for before, after in itertools.pairwise(seen))
    assert all(progress.total_s == pytest.approx(result.media.duration_s) for progress in seen)


def test_rules_decide_what_is_an_event(bundle: avdetect.Bundle, whole: ScoreResult) -> None:
    never = [EventRule(on=1.0, off=1.0)] * len(whole.curve.classes)
    assert avdetect.score(DEMO, bundle=bundle, rules=never).events == ()


def test_leaving_early_ends_every_thread(bundle: avdetect.Bundle) -> None:
    before = set(threading.enumerate())
    with avdetect.stream(DEMO, bundle=bundle) as scores:
        next(scores)
    assert set(threading.enumerate()) <= before


def test_sound_alone_is_scored(bundle: avdetect.Bundle, media: MediaFactory) -> None:
    result = avdetect.score(media.flash_and_tone("alone.wav", video=(), audio=("-c:a", "pcm_s16le")), bundle=bundle)
    assert result.curve.present[:, 0].all()
    assert not result.curve.present[:, 1].any()
    assert not result.curve.visual_scores.any()
    assert "no-video" in {note.code for note in result.notes}


def test_pictures_alone_are_scored(bundle: avdetect.Bundle, media: MediaFactory) -> None:
    result = avdetect.score(media.flash_and_tone("silent.mp4", video=X264, audio=()), bundle=bundle)
    assert result.curve.present[:, 1].all()
    assert not result.curve.present[:, 0].any()
    assert not result.curve.audio_scores.any()
    assert "no-audio" in {note.code for note in result.notes}


def test_a_hole_in_the_sound_is_marked_absent(bundle: avdetect.Bundle, media: MediaFactory) -> None:
    source = media.flash_and_tone("flash.mp4")
    late = media.ffmpeg(
        "late.mkv", "-i", source, "-itsoffset", "2", "-i", source, "-map", "0:v", "-map", "1:a", "-c", "copy"
    )
    heard = avdetect.score(late, bundle=bundle).curve.present[:, 0]
    assert not heard[:3].any()  # the sound starts at 2 s, in the fourth snippet
    assert heard[3:].all()


def test_a_file_that_is_no_media_says_so(bundle: avdetect.Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("dear diary")
    with pytest.raises(MediaError, match=r"notes\.mp4"):
        avdetect.score(tmp_path / "notes.mp4", bundle=bundle)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start_s": -1.0}, "start must not be negative, got -1 s"),
        ({"duration_s": 0.0}, "duration must be above zero, got 0 s"),
        ({"start_s": float("nan")}, "start must not be negative, got nan s"),
        ({"batch_snippets": 0}, "batch_snippets must be at least 1, got 0"),
        ({"decoder_threads": -1}, "decoder_threads must not be negative, got -1"),
    ],
)
def test_options_that_make_no_sense_are_misuse(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScoreOptions(**values)  # type: ignore[arg-type]


def test_starting_beyond_the_end_is_misuse(bundle: avdetect.Bundle) -> None:
    with pytest.raises(UsageError, match="cannot be started at 1000 s"):
        avdetect.score(DEMO, bundle=bundle, options=ScoreOptions(start_s=1000.0))


def test_wrong_number_of_rules_is_misuse(bundle: avdetect.Bundle) -> None:
    with pytest.raises(UsageError, match="1 rules were given for the"):
        avdetect.score(DEMO, bundle=bundle, rules=[EventRule()])
