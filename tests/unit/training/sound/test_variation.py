from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from avdetect.training.sound.variation import (
    active_rms,
    at_pitch,
    echoed,
    equalised,
    in_room,
    mixed_at,
    sounding,
    through_channel,
    varied,
)

RATE_HZ = 16_000
Samples = NDArray[np.float32]


def tone(frequency_hz: float, duration_s: float = 1.0, level: float = 0.5) -> Samples:
    time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def loudest_hz(samples: Samples) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE_HZ / len(samples))


def test_the_level_of_a_sound_leaves_its_silence_out() -> None:
    sound = np.concatenate([tone(400), np.zeros(3 * RATE_HZ, np.float32)])
    assert active_rms(sound) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert sounding(sound).sum() == pytest.approx(40, abs=1)


def test_silence_has_a_level_that_can_be_divided_by() -> None:
    assert active_rms(np.zeros(1000, np.float32)) > 0
    assert active_rms(np.zeros(0, np.float32)) > 0
    assert not sounding(np.zeros(1000, np.float32)).any()


def test_a_higher_pitch_is_shorter_and_higher() -> None:
    higher = at_pitch(tone(400), 1.5)
    assert len(higher) == pytest.approx(RATE_HZ / 1.5, abs=1)
    assert loudest_hz(higher) == pytest.approx(600, abs=5)


def test_an_equaliser_changes_each_band_by_its_gain() -> None:
    sound = tone(1000) + tone(7000)
    changed = equalised(sound, [0, 0, 0, 0, 0, -20])
    before, after = np.abs(np.fft.rfft(sound)), np.abs(np.fft.rfft(changed))
    assert after[1000] / before[1000] == pytest.approx(1, rel=0.02)
    assert 0.2 < after[7000] / before[7000] < 0.7
    np.testing.assert_allclose(equalised(sound, [0] * 6), sound, atol=1e-5)


def test_echoes_come_later_and_quieter() -> None:
    click = np.zeros(100, np.float32)
    click[0] = 1
    heard = echoed(click, 50, 0.5)
    assert [heard[place] for place in (0, 50, 100, 150)] == [1, 0.5, 0.25, 0.125]


def test_a_room_rings_after_the_sound_has_stopped() -> None:
    click = np.zeros(100, np.float32)
    click[0] = 1
    heard = in_room(click, RATE_HZ, np.random.default_rng(0))
    assert heard[0] == pytest.approx(1, abs=1e-5)  # what comes straight
    assert np.abs(heard[100:1000]).max() > 0.01
    assert np.square(heard[100:500]).sum() > np.square(heard[-400:]).sum()


def test_a_channel_keeps_the_length_and_about_the_level() -> None:
    for seed in range(8):
        heard = through_channel(tone(600), RATE_HZ, np.random.default_rng(seed))
        assert len(heard) == RATE_HZ
        assert 0.1 < np.abs(heard).max() < 1.5


@pytest.mark.parametrize("vary", [varied, in_room, through_channel])
def test_the_same_seed_gives_the_same_sound_and_leaves_its_input_alone(
    vary: Callable[[Samples, int, np.random.Generator], Samples],
) -> None:
    sound = tone(800)
    kept = sound.copy()
    first, again, other = (vary(sound, RATE_HZ, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(sound, kept)
    assert len(first) != len(other) or np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("length", [0, 1, 2, 399, 401])
def test_very_short_sounds_can_be_varied(length: int) -> None:
    for seed in range(20):
        heard = varied(np.ones(length, np.float32), RATE_HZ, np.random.default_rng(seed))
        assert np.isfinite(heard).all()


def test_a_sound_is_laid_over_a_background_at_its_level() -> None:
    background = tone(100, 2.0, level=0.1)
    mix = mixed_at(background, tone(3000, 0.5, level=0.9), 12.0, RATE_HZ)
    sound = mix - background
    assert active_rms(sound) / active_rms(background) == pytest.approx(10 ** (12 / 20), rel=0.02)
    assert np.flatnonzero(np.abs(sound) > 1e-4)[0] == pytest.approx(RATE_HZ, abs=2)


@pytest.mark.parametrize("start", [-4000, -9000, 31_000, 40_000])
def test_what_reaches_out_of_the_background_is_cut_off(start: int) -> None:
    background = tone(100, 2.0)
    mix = mixed_at(background, tone(3000, 0.5), 0.0, start)
    assert len(mix) == len(background)
    assert np.isfinite(mix).all()
