"""What the composer does to samples: all mono float32, ``(samples,)``, and none changes its input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["at_level", "at_speed", "audible", "coloured_noise", "faded"]

Samples = NDArray[np.float32]

_FRAME_S = 0.01
_LOUDEST_S = 0.4
"""How long a stretch a level is measured over: what momentary loudness is measured over (ITU-R BS.1771)."""
_NOISE_EXPONENTS = (0.0, 0.5, 1.0)
"""Of amplitude over frequency: white, pink, brown."""
_LOWEST_NOISE_HZ = 20.0


def audible(samples: Samples, rate_hz: int, *, below_peak_db: float = 40.0) -> Samples:
    """Without what is more than ``below_peak_db`` quieter than the loudest moment, at either end."""
    frame = max(int(_FRAME_S * rate_hz), 1)
    num_frames = len(samples) // frame
    if num_frames < 2:
        return samples
    power = np.square(samples[: num_frames * frame].reshape(num_frames, frame), dtype=np.float64).mean(axis=1)
    heard = np.flatnonzero(power >= power.max() * 10 ** (-below_peak_db / 10))
    return samples[heard[0] * frame : (heard[-1] + 1) * frame]


def at_speed(samples: Samples, factor: float) -> Samples:
    """Played ``factor`` times as fast, and as much higher."""
    times = np.arange(int(len(samples) / factor)) * factor
    return np.asarray(np.interp(times, np.arange(len(samples)), samples), np.float32)


def at_level(samples: Samples, rate_hz: int, level_dbfs: float) -> Samples:
    """Scaled so that its loudest 0.4 s has this level; silence stays silence."""
    window = min(len(samples), int(_LOUDEST_S * rate_hz))
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    power = float((energy[window:] - energy[:-window]).max()) / max(window, 1) if window else 0.0
    return samples * np.float32(10 ** (level_dbfs / 20) / np.sqrt(power)) if power > 0 else samples


def faded(samples: Samples, rate_hz: int) -> Samples:
    """With 10 ms, or a quarter where that is less, to rise and to fall: a cut must not click."""
    length = min(int(_FRAME_S * rate_hz), len(samples) // 4)
    result = samples.copy()
    slope = np.linspace(0, 1, length, dtype=np.float32)
    result[:length] *= slope
    result[len(result) - length :] *= slope[::-1]
    return result


def coloured_noise(num_samples: int, rate_hz: int, level_dbfs: float, rng: np.random.Generator) -> Samples:
    """White, pink or brown noise of this level."""
    exponent = _NOISE_EXPONENTS[int(rng.integers(len(_NOISE_EXPONENTS)))]
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency_hz = np.maximum(np.fft.rfftfreq(num_samples, 1 / rate_hz), _LOWEST_NOISE_HZ)
    noise = np.fft.irfft(spectrum * frequency_hz**-exponent, num_samples)
    level = 10 ** (level_dbfs / 20) / np.sqrt(np.square(noise).mean())
    return np.asarray(noise * level, np.float32)
