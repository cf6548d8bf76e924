"""Labelled sounds -> long tracks in which it is known what is heard when.

A track is a row of moments with silence in between. A moment is one sound, or several that overlap. Level, speed,
cut, place and the noise under it all are drawn from ``rng``: the same seed gives the same track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.text.phrases import Moment
from avdetect.text.records import HeardSound, LabelledSound
from avdetect.timebase import Span

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class MixOptions:
    """Options for mixing sounds; a pair is a range to draw from."""

    rate_hz: int = 16_000
    level_dbfs: Range = (-32.0, -14.0)
    """Level of a sound's loudest moment."""
    noise_dbfs: Range = (-70.0, -36.0)
    """Level of the noise under everything."""
    speed: Range = (1.0, 1.0)
    shortest_cut_s: float | None = None
    """A longer sound may be cut down to this; None: sounds stay whole."""
    overlap_start: Range = (0.0, 0.5)
    """Start of an overlapping sound in the first one, as a share of the first one's length."""
    gap_s: Range = (0.2, 2.5)
    """Length of the gaps before, between and after moments, where the track has no given length."""

    def __post_init__(self) -> None:
        for name in ("level_dbfs", "noise_dbfs", "speed", "overlap_start", "gap_s"):
            low, high = getattr(self, name)
            if not low <= high:
                raise UsageError(f"{name} must be a range from low to high, got {low:g} to {high:g}.")
        if self.speed[0] <= 0 or self.gap_s[0] < 0 or self.overlap_start[0] < 0:
            raise UsageError("speed must be above zero, gap_s and overlap_start must not be negative.")


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """A track."""

    samples: NDArray[np.float32]
    """Mono, within [-1, 1], ``(samples,)``."""
    heard: tuple[HeardSound, ...]
    """The sounds, in the order of their start."""


def compose(
    story: Sequence[Sequence[LabelledSound]],
    options: MixOptions,
    rng: np.random.Generator,
    *,
    duration_s: float | None = None,
    whole_s: float | None = None,
) -> Composition:
    """Mix a track.

    Args:
        story: the moments, in order; the sounds of one overlap.
        options: how they are mixed.
        rng: decides all that is left open.
        duration_s: length of the track; silence is shared out at random. None for as long as it takes.
        whole_s: make the track a multiple of this long, for instance of the snippet's hop.

    Raises:
        UsageError: the sounds are longer than the track.
    """
    rate_hz = options.rate_hz
    moments = [_moment(sounds, options, rng) for sounds in story]
    filled = sum(len(moment.samples) for moment in moments)
    if duration_s is None:
        gaps = [int(rng.uniform(*options.gap_s) * rate_hz) for _ in range(len(moments) + 1)]
        num_samples = filled + sum(gaps)
    else:
        num_samples = round(duration_s * rate_hz)
        if filled > num_samples:
            raise UsageError(f"{filled / rate_hz:.1f} s of sounds do not fit into a track of {duration_s:g} s.")
        gaps = (rng.dirichlet(np.ones(len(moments) + 1)) * (num_samples - filled)).astype(int).tolist()
    if whole_s is not None:
        unit = round(whole_s * rate_hz)
        num_samples = -(-num_samples // unit) * unit
    samples = np.zeros(num_samples, np.float32)
    heard: list[HeardSound] = []
    start = 0
    for gap, moment in zip(gaps, moments, strict=False):
        start += gap
        samples[start : start + len(moment.samples)] += moment.samples
        heard += [_later(one, start / rate_hz) for one in moment.heard]
        start += len(moment.samples)
    samples += coloured_noise(num_samples, rate_hz, rng.uniform(*options.noise_dbfs), rng)
    return Composition(np.clip(samples, -1, 1), tuple(sorted(heard, key=lambda one: one.span)))


def draw_story(
    sounds: Sequence[LabelledSound],
    num_sounds: int,
    rng: np.random.Generator,
    *,
    overlap_share: float = 0.0,
    max_sounds_s: float | None = None,
    rate_hz: int = 16_000,
) -> list[list[LabelledSound]]:
    """Choose the sounds of a track: of different classes and descriptions as long as there are such.

    Args:
        sounds: to choose from.
        num_sounds: how many.
        rng: chooses.
        overlap_share: of the sounds after the first, how many overlap with the one before.
        max_sounds_s: how long they may be in all; shorter ones are chosen where they would be longer.
        rate_hz: of the sounds.

    Raises:
        UsageError: not even the shortest would fit.
    """
    chosen: list[LabelledSound] = []
    left_s = float("inf") if max_sounds_s is None else max_sounds_s
    for index in range(num_sounds):
        fair_s = left_s / (num_sounds - index)
        fitting = [one for one in sounds if len(one.samples) / rate_hz <= fair_s]
        if not fitting:
            raise UsageError(f"no sound is short enough to be one of {num_sounds} in {max_sounds_s:g} s.")
        taken = {one.text for one in chosen} | {one.label for one in chosen if one.label is not None}
        fresh = [one for one in fitting if one.text not in taken and one.label not in taken] or fitting
        sound = fresh[int(rng.integers(len(fresh)))]
        chosen.append(sound)
        left_s -= len(sound.samples) / rate_hz
    story: list[list[LabelledSound]] = []
    for sound in chosen:
        if story and len(story[-1]) == 1 and rng.random() < overlap_share:
            story[-1].append(sound)
        else:
            story.append([sound])
    return story


def moments_of(heard: Sequence[HeardSound]) -> list[Moment]:
    """Group sounds into moments: a sound that starts before the previous one has ended is heard together with it."""
    moments: list[list[str]] = []
    end_s = float("-inf")
    for sound in sorted(heard, key=lambda one: one.span):
        if sound.span.start_s < end_s:
            moments[-1].append(sound.text)
        else:
            moments.append([sound.text])
        end_s = max(end_s, sound.span.end_s)
    return [tuple(moment) for moment in moments]


def _moment(sounds: Sequence[LabelledSound], options: MixOptions, rng: np.random.Generator) -> Composition:
    """Sounds that overlap, without noise."""
    parts = [_prepared(sound.samples, options, rng) for sound in sounds]
    starts = [0, *(int(rng.uniform(*options.overlap_start) * len(parts[0])) for _ in parts[1:])]
    samples = np.zeros(max(start + len(part) for start, part in zip(starts, parts, strict=True)), np.float32)
    heard = []
    for sound, start, part in zip(sounds, starts, parts, strict=True):
        samples[start : start + len(part)] += part
        span = Span(start / options.rate_hz, (start + len(part)) / options.rate_hz)
        heard.append(HeardSound(span, sound.text, sound.label))
    return Composition(samples, tuple(heard))


def _prepared(samples: NDArray[np.float32], options: MixOptions, rng: np.random.Generator) -> NDArray[np.float32]:
    """One sound as it goes into the mix."""
    samples = audible(samples, options.rate_hz)
    factor = float(np.exp(rng.uniform(*np.log(options.speed))))
    if factor != 1:
        samples = at_speed(samples, factor)
    if options.shortest_cut_s is not None:
        shortest = round(options.shortest_cut_s * options.rate_hz)
        if len(samples) > shortest:
            length = int(rng.integers(shortest, len(samples) + 1))
            first = int(rng.integers(len(samples) - length + 1))
            samples = samples[first : first + length]
    level = rng.uniform(*options.level_dbfs)
    return faded(at_level(samples, options.rate_hz, level), options.rate_hz)


def _later(sound: HeardSound, seconds: float) -> HeardSound:
    span = Span(sound.span.start_s + seconds, sound.span.end_s + seconds)
    return HeardSound(span, sound.text, sound.label)


Samples = NDArray[np.float32]

_FRAME_S = 0.01
_LOUDEST_S = 0.4
"""Length over which a level is measured: that of momentary loudness (ITU-R BS.1771)."""
_NOISE_EXPONENTS = (0.0, 0.5, 1.0)
"""Exponents of amplitude over frequency: white, pink, brown."""
_LOWEST_NOISE_HZ = 20.0


def audible(samples: Samples, rate_hz: int, *, below_peak_db: float = 40.0) -> Samples:
    """Cut from either end what is more than ``below_peak_db`` quieter than the loudest moment."""
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
    """Fade in and out over 10 ms, or a quarter where that is less: a cut must not click."""
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
