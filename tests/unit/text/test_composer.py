from __future__ import annotations

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.text.composer import (
    MixOptions,
    at_level,
    at_speed,
    audible,
    coloured_noise,
    compose,
    draw_story,
    faded,
    moments_of,
)
from avdetect.text.records import HeardSound, LabelledSound
from avdetect.timebase import Span

RATE_HZ = 8000
QUIET = MixOptions(rate_hz=RATE_HZ, noise_dbfs=(-90, -90))


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32)


def sound(name: str, seconds: float = 0.5, label: str | None = None) -> LabelledSound:
    return LabelledSound(tone(seconds), name, label)


def loud(samples: np.ndarray) -> np.ndarray:
    return np.abs(samples) > 0.005


def test_sounds_are_heard_where_the_track_says() -> None:
    track = compose([[sound("a")], [sound("b", 0.8)]], QUIET, np.random.default_rng(0), duration_s=6)
    heard = np.zeros(len(track.samples), bool)
    for one in track.heard:
        heard[round(one.span.start_s * RATE_HZ) : round(one.span.end_s * RATE_HZ)] = True
        inside = track.samples[round((one.span.start_s + 0.05) * RATE_HZ) :][:800]
        assert loud(inside).mean() > 0.8
    assert [one.text for one in track.heard] == ["a", "b"]
    assert not loud(track.samples[~heard]).any()


def test_a_track_is_as_long_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert len(compose([[sound("a")]], QUIET, rng, duration_s=3.3).samples) == round(3.3 * RATE_HZ)
    assert len(compose([[sound("a")]], QUIET, rng, whole_s=0.64).samples) % round(0.64 * RATE_HZ) == 0
    assert len(compose([], QUIET, rng, duration_s=1.0).samples) == RATE_HZ


def test_the_sounds_of_a_moment_overlap() -> None:
    options = MixOptions(rate_hz=RATE_HZ, overlap_start=(0.5, 0.5))
    first, second = compose([[sound("a", 2), sound("b", 2)]], options, np.random.default_rng(0), duration_s=9).heard
    assert second.span.start_s - first.span.start_s == pytest.approx(1, abs=0.02)


def test_the_same_seed_gives_the_same_track() -> None:
    options = MixOptions(rate_hz=RATE_HZ, speed=(0.8, 1.2), shortest_cut_s=0.2)
    one, other = (compose([[sound("a")]], options, np.random.default_rng(5), duration_s=3) for _ in range(2))
    np.testing.assert_array_equal(one.samples, other.samples)
    assert one.heard == other.heard


def test_sounds_that_do_not_fit_are_misuse() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        compose([[sound("a", 4)]], QUIET, np.random.default_rng(0), duration_s=3)


def test_a_story_has_different_classes_while_there_are_some() -> None:
    sounds = [sound(f"{label} {number}", label=label) for label in "abc" for number in range(5)]
    for seed in range(20):
        story = draw_story(sounds, 3, np.random.default_rng(seed), rate_hz=RATE_HZ)
        assert {one.label for moment in story for one in moment} == set("abc")


def test_a_story_fits_into_its_time() -> None:
    sounds = [sound("long", 5), sound("short", 1), sound("shorter", 0.5)]
    story = draw_story(sounds, 2, np.random.default_rng(0), max_sounds_s=2, rate_hz=RATE_HZ)
    assert sum(len(one.samples) for moment in story for one in moment) <= 2 * RATE_HZ
    with pytest.raises(UsageError, match="short enough"):
        draw_story([sound("long", 5)], 2, np.random.default_rng(0), max_sounds_s=2, rate_hz=RATE_HZ)


def test_moments_are_what_overlaps() -> None:
    heard = [HeardSound(Span(*span), text) for span, text in (((0, 2), "a"), ((1, 3), "b"), ((3, 4), "c"))]
    assert moments_of(heard) == [("a", "b"), ("c",)]


def test_silence_at_the_ends_is_cut() -> None:
    padded = np.concatenate([np.zeros(RATE_HZ, np.float32), tone(0.5), np.zeros(RATE_HZ, np.float32)])
    assert len(audible(padded, RATE_HZ)) == pytest.approx(RATE_HZ / 2, abs=200)


def test_faster_is_shorter_and_higher() -> None:
    faster = at_speed(tone(1, 400), 1.25)
    spectrum = np.abs(np.fft.rfft(faster))
    assert len(faster) == RATE_HZ * 4 // 5
    assert np.argmax(spectrum) * RATE_HZ / len(faster) == pytest.approx(500, abs=2)


def test_level_is_that_of_the_loudest_moment() -> None:
    samples = np.concatenate([tone(0.5), np.zeros(4 * RATE_HZ, np.float32)])
    level = np.sqrt(np.square(at_level(samples, RATE_HZ, -20.0)[: int(0.4 * RATE_HZ)]).mean())
    assert 20 * np.log10(level) == pytest.approx(-20, abs=0.1)
    assert not at_level(np.zeros(100, np.float32), RATE_HZ, -20.0).any()


def test_noise_has_its_level_whatever_its_colour() -> None:
    for seed in range(9):
        noise = coloured_noise(RATE_HZ, RATE_HZ, -40.0, np.random.default_rng(seed))
        assert 10 * np.log10(np.square(noise, dtype=np.float64).mean()) == pytest.approx(-40, abs=0.01)


def test_a_cut_begins_and_ends_in_silence() -> None:
    cut = faded(np.ones(1000, np.float32), RATE_HZ)
    assert cut[0] == cut[-1] == 0
    assert cut[500] == 1


def test_a_range_must_rise() -> None:
    with pytest.raises(UsageError, match="level_dbfs"):
        MixOptions(level_dbfs=(-10, -20))
