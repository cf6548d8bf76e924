from __future__ import annotations

import numpy as np
import pytest

from avdetect.training.sound.sirens import synthesised_siren

RATE_HZ = 16_000


@pytest.mark.parametrize("seed", range(12))
def test_a_siren_has_a_strong_tone_that_moves(seed: int) -> None:
    sound = synthesised_siren(RATE_HZ, 4.0, np.random.default_rng(seed))
    assert sound.shape == (4 * RATE_HZ,)
    assert np.abs(sound).max() == pytest.approx(1.0)
    frames = sound[: len(sound) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    spectra = np.abs(np.fft.rfft(frames, 4096))
    strongest_hz = spectra.argmax(axis=1) * RATE_HZ / 4096
    assert 200 < np.median(strongest_hz) < 7000
    assert strongest_hz.max() - strongest_hz.min() > 40
    # Most of the energy is in few lines: it is a tone, not noise.
    assert np.sort(spectra**2, axis=1)[:, -400:].sum() > 0.8 * (spectra**2).sum()


def test_sirens_differ_and_are_the_same_for_the_same_seed() -> None:
    first, again, other = (synthesised_siren(RATE_HZ, 1.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
