"""What makes another sound out of a recording: all samples are mono float32, ``(samples,)``, and no input is changed.

A few recordings have to stand for all the shots, screams and sirens there are: pitch, colour, room, distance and the
microphone are what differs most between a recording that is known and one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchaudio import functional as audio

__all__ = [
    "active_rms",
    "at_pitch",
    "echoed",
    "equalised",
    "in_room",
    "mixed_at",
    "sounding",
    "through_channel",
    "varied",
]

Samples = NDArray[np.float32]

_FRAME_SAMPLES = 400
_ACTIVE_SHARE = 0.1
"""A frame is active when its amplitude is at least this share of the loudest frame's: 20 dB below it."""
_SILENCE = 1e-6
_NUM_BANDS = 6
_BAND_DB = 8.0
_OCTAVES = 0.35
_NUM_ECHOES = 3
_MU_LAW_LEVELS = 256


def sounding(samples: Samples) -> NDArray[np.bool_]:
    """Which frames of 400 samples are heard: those at most 20 dB below the loudest; the last may be shorter.

    Silence is heard nowhere. The shape is ``(frames,)``.
    """
    num_frames = -(-len(samples) // _FRAME_SAMPLES)
    padded = np.zeros(num_frames * _FRAME_SAMPLES, np.float32)
    padded[: len(samples)] = samples
    level = np.sqrt(np.square(padded.reshape(num_frames, _FRAME_SAMPLES)).mean(axis=1))
    return np.asarray((level >= level.max(initial=0.0) * _ACTIVE_SHARE) & (level > _SILENCE), np.bool_)


def active_rms(samples: Samples) -> float:
    """The level of a sound while it is heard, as a root mean square; at least 1e-6, so that it can be divided by."""
    heard = sounding(samples)
    if not heard.any():
        return _SILENCE
    kept = np.repeat(heard, _FRAME_SAMPLES)[: len(samples)]
    return max(float(np.sqrt(np.square(samples[kept]).mean())), _SILENCE)


def at_pitch(samples: Samples, factor: float) -> Samples:
    """Played ``factor`` times as fast, and as much higher."""
    places = np.arange(int((len(samples) - 1) / factor) + 1, dtype=np.float32) * np.float32(factor)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)


def equalised(samples: Samples, band_db: Sequence[float]) -> Samples:
    """With these gains in dB at frequencies evenly spaced from 0 to the highest, and between them in proportion."""
    size = _fast_size(len(samples))
    spectrum = np.fft.rfft(samples, size)
    gains = 10 ** (np.asarray(band_db) / 20)
    curve = np.interp(np.linspace(0, len(band_db) - 1, len(spectrum)), np.arange(len(band_db)), gains)
    return np.fft.irfft(spectrum * curve.astype(np.float32), size)[: len(samples)].astype(np.float32)


def echoed(samples: Samples, delay_samples: int, share: float) -> Samples:
    """With three echoes, each ``delay_samples`` later and ``share`` as loud as the one before; longer by them."""
    result = np.zeros(len(samples) + _NUM_ECHOES * delay_samples, np.float32)
    for number in range(_NUM_ECHOES + 1):
        start = number * delay_samples
        result[start : start + len(samples)] += samples * np.float32(share**number)
    return result


def in_room(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
    """As heard in a room: convolved with noise that decays within 0.1 to 1 s, and is duller than the direct sound."""
    decay_s = float(rng.uniform(0.1, 1.0))
    response = rng.standard_normal(int(decay_s * rate_hz)).astype(np.float32)
    response *= np.exp(np.linspace(0, -6.9, len(response), dtype=np.float32))  # 60 dB down at its end
    response = np.convolve(response, np.full(3, 1 / 3, np.float32), "same")
    response *= np.float32(rng.uniform(0.2, 1.2)) / np.sqrt(np.square(response).sum())
    response[0] = 1.0
    size = _fast_size(len(samples) + len(response) - 1)
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return heard[: len(samples) + len(response) // 2].astype(np.float32)


def through_channel(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
    """As it comes through a cheap microphone and a codec: some of band limits, overdrive and eight bits (mu-law)."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < _SILENCE:
        return samples
    wave = torch.from_numpy(samples / np.float32(peak))
    if rng.random() < 0.6:
        wave = audio.lowpass_biquad(wave, rate_hz, float(rng.uniform(0.12, 0.45)) * rate_hz)
    if rng.random() < 0.4:
        wave = audio.highpass_biquad(wave, rate_hz, float(rng.uniform(80.0, 500.0)))
    if rng.random() < 0.3:
        wave = torch.tanh(wave * float(rng.uniform(1.5, 6.0)))
    if rng.random() < 0.3:
        coded = audio.mu_law_encoding(wave.clamp(-1, 1), _MU_LAW_LEVELS)
        wave = audio.mu_law_decoding(coded, _MU_LAW_LEVELS)
    return (wave * peak).numpy().astype(np.float32)


def varied(samples: Samples, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Another sound of the same kind: of another pitch and colour, often with an echo, in a room or through a channel.

    It may be shorter or longer. The same ``rng`` gives the same sound.
    """
    if len(samples) < 2:
        return samples
    if rng.random() < 0.8:
        samples = at_pitch(samples, 2 ** float(rng.uniform(-_OCTAVES, _OCTAVES)))
    if rng.random() < 0.6:
        samples = equalised(samples, rng.uniform(-_BAND_DB, _BAND_DB, _NUM_BANDS).tolist())
    place = rng.random()
    if place < 0.25:
        samples = echoed(samples, int(rng.uniform(0.02, 0.25) * rate_hz), float(rng.uniform(0.1, 0.5)))
    elif place < 0.5:
        samples = in_room(samples, rate_hz, rng)
    if rng.random() < 0.2:
        samples = through_channel(samples, rate_hz, rng)
    return samples


def mixed_at(background: Samples, sound: Samples, snr_db: float, start: int) -> Samples:
    """A sound laid over a background, so much louder while it is heard than the background is there.

    Args:
        background: what it is laid over; the result is as long.
        sound: what reaches out of the background on either side is cut off.
        snr_db: of the sound while it is heard, over the level of the background that it covers; where the background
            pauses, over a tenth of its level on the whole.
        start: where it begins, in samples of the background; may be negative.
    """
    result = background.copy()
    begin, end = max(start, 0), min(start + len(sound), len(background))
    if end > begin:
        covered, whole = (float(np.sqrt(np.square(part).mean())) for part in (background[begin:end], background))
        gain = max(covered, 0.1 * whole, _SILENCE) * 10 ** (snr_db / 20) / active_rms(sound)
        result[begin:end] += sound[begin - start : end - start] * np.float32(gain)
    return result


def _fast_size(length: int) -> int:
    """The next length of which a Fourier transform is quick: a power of two, or three quarters of one."""
    power = 1 << max(length - 1, 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= length else power
