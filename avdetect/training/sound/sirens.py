"""Sirens made of sweeps: of real ones there are few, and what they are made of is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy
from torchaudio import functional as audio

__all__ = ["SIREN", "synthesised_siren"]

SIREN = "siren"
"""How a list calls them."""

_SPEED_OF_SOUND_M_S = 343.0


def synthesised_siren(rate_hz: int, duration_s: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A siren: two tones in turn, or a tone that wails, yelps or chirps; with overtones and often driving past.

    Returns:
        Mono with its peak at 1, ``(samples,)``.
    """
    time_s = np.arange(int(duration_s * rate_hz)) / rate_hz
    kind = rng.choice(["two-tone", "wail", "yelp", "chirp"], p=[0.35, 0.3, 0.25, 0.1])
    low_hz = float(rng.uniform(350.0, 800.0))
    high_hz = low_hz * float(rng.uniform(1.2, 1.5) if kind == "two-tone" else rng.uniform(1.5, 2.6))
    period_s = {
        "two-tone": rng.uniform(0.5, 1.6),
        "wail": rng.uniform(2.0, 6.0),
        "yelp": rng.uniform(0.2, 0.6),
        "chirp": rng.uniform(0.08, 0.2),
    }[str(kind)]
    phase = (time_s / float(period_s) + rng.random()) % 1.0
    if kind == "two-tone":
        height = (phase < 0.5).astype(np.float64)
    elif kind == "chirp":
        height = phase
    else:
        rise = float(rng.uniform(0.3, 0.7))
        height = np.where(phase < rise, phase / rise, (1 - phase) / (1 - rise))
    pitch_hz = low_hz * (high_hz / low_hz) ** height
    level = np.ones_like(time_s)
    if rng.random() < 0.5:
        pitch_hz, level = _driving_past(pitch_hz, time_s, rng)
    turns = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    steepness = float(rng.uniform(0.6, 2.0))
    highest = int(min(rng.integers(3, 12), 0.5 * rate_hz / pitch_hz.max()))
    odd_only = rng.random() < 0.4
    wave = np.zeros_like(time_s)
    for number in range(1, max(highest, 1) + 1):
        if not (odd_only and number % 2 == 0):
            wave += np.sin(number * turns + rng.uniform(0, 2 * np.pi)) / number**steepness
    wave *= level
    if rng.random() < 0.5:
        horn = from_numpy(wave.astype(np.float32))
        wave = audio.bandpass_biquad(horn, rate_hz, float(rng.uniform(600.0, 2000.0)), 0.7).numpy().astype(np.float64)
    peak = float(np.abs(wave).max(initial=0.0)) or 1.0
    return (wave / peak).astype(np.float32)


def _driving_past(
    pitch_hz: NDArray[np.float64], time_s: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The pitch as the Doppler effect shifts it, and the level by the distance."""
    speed, nearest_m = float(rng.uniform(5.0, 25.0)), float(rng.uniform(5.0, 40.0))
    along_m = speed * (time_s - float(rng.uniform(-1.0, 1.5)) * time_s[-1])
    distance_m = np.hypot(along_m, nearest_m)
    approach = -speed * along_m / distance_m
    return pitch_hz * _SPEED_OF_SOUND_M_S / (_SPEED_OF_SOUND_M_S - approach), nearest_m / distance_m
