"""Scenes of several sounds at once, put together anew for every step: what is heard in each snippet is known.

A scene is one or two backgrounds and up to a few single sounds on top. Its windows are those that the scorer would cut,
and a class is heard in a snippet where a sound of it is not in one of its pauses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.training.sound.sirens import SIREN, synthesised_siren
from avdetect.training.sound.variation import Samples, active_rms, equalised, mixed_at, sounding, varied

__all__ = ["Grid", "MixtureOptions", "Scene", "SoundBank", "mixed_scene"]

_MIN_HEARD_S = 0.04
"""A class is heard in a snippet where it is heard for so long, or a shot would not count."""
_SHORTEST_S = 0.1
_SOUND_FRAME = 400


@dataclass(frozen=True, slots=True)
class Grid:
    """How sound is cut into snippets."""

    rate_hz: int
    hop_samples: int
    window_samples: int
    """A window ends where its snippet ends."""

    @property
    def lead_samples(self) -> int:
        """How much of the first window is before the first snippet."""
        return max(self.window_samples - self.hop_samples, 0)

    def windows(self, samples: Samples) -> NDArray[np.float32]:
        """The windows of all snippets after the lead: ``(samples,)`` -> ``(snippets, window_samples)``."""
        num_snippets = (len(samples) - self.lead_samples) // self.hop_samples
        ends = self.lead_samples + self.hop_samples * np.arange(1, num_snippets + 1)
        return np.asarray(samples[ends[:, None] + np.arange(-self.window_samples, 0)], np.float32)


@dataclass(frozen=True, slots=True)
class MixtureOptions:
    """How scenes are composed; a pair is a range to draw from."""

    num_snippets: int = 8
    num_sounds: tuple[int, int] = (0, 3)
    """Single sounds in a scene, at least and at most."""
    event_share: float = 0.55
    """How many of the single sounds are of a class that matters; all classes of either kind are drawn alike."""
    snr_db: tuple[float, float] = (-6.0, 18.0)
    sound_s: tuple[float, float] = (1.0, 5.0)
    """The longest that a single sound may be, drawn for each."""
    variation: bool = True
    """Whether recordings are varied, or used as they are."""
    synthesised_sirens: float = 0.6
    """How many of the sirens are sweeps made for the scene."""
    level_db: tuple[float, float] = (-32.0, -2.0)
    """Of the scene's peak, below full scale."""


@dataclass(frozen=True, slots=True, eq=False)
class SoundBank:
    """Sounds by class."""

    sounds: Mapping[str, tuple[Samples, ...]]
    """Of every class that there are any of, each with its peak at 1."""
    class_names: tuple[str, ...]
    """The columns of what is heard."""
    events: tuple[str, ...]
    """The classes that matter most."""
    beds: tuple[str, ...]
    """The classes that may also go on in the background; where there are none, the background is noise."""

    def __post_init__(self) -> None:
        if not self.sounds:
            raise DataError("there is no sound to mix: all of them are silent, or there are none.")

    @property
    def ordinary(self) -> tuple[str, ...]:
        """The classes that there are sounds of, but for the events."""
        return tuple(name for name in self.class_names if name in self.sounds and name not in self.events)

    @staticmethod
    def of(
        sounds: Iterable[tuple[str, Samples]], class_names: Sequence[str], *, events: Sequence[str], beds: Sequence[str]
    ) -> SoundBank:
        """The sounds, each after its class, that are not silent.

        Of ``events`` and ``beds`` those are kept that there are sounds of; where no class is among ``events``, all that
        are not beds are events.

        Raises:
            DataError: there is no sound.
        """
        by_class: dict[str, list[Samples]] = defaultdict(list)
        for name, samples in sounds:
            peak = float(np.abs(samples).max(initial=0.0))
            if peak > 0:
                by_class[name].append(samples / np.float32(peak))
        known_beds = tuple(name for name in beds if name in by_class)
        known_events = tuple(name for name in events if name in by_class)
        others = tuple(name for name in class_names if name in by_class and name not in known_beds)
        return SoundBank(
            {name: tuple(one) for name, one in by_class.items()},
            tuple(class_names),
            known_events or others or known_beds,
            known_beds,
        )


class Scene(NamedTuple):
    """A scene, cut into snippets."""

    windows: NDArray[np.float32]
    """``(snippets, window_samples)``."""
    heard: NDArray[np.float32]
    """1 where a class is heard, else 0, ``(snippets, classes)``."""
    counted: NDArray[np.float32]
    """0 where it is open whether it is heard, as in its pauses, else 1, ``(snippets, classes)``."""


def mixed_scene(bank: SoundBank, grid: Grid, options: MixtureOptions, rng: np.random.Generator) -> Scene:
    """A new scene; the same ``rng`` gives the same one."""
    names = bank.class_names
    length = grid.lead_samples + options.num_snippets * grid.hop_samples
    heard = np.zeros((options.num_snippets, len(names)), np.float32)
    counted = np.ones_like(heard)
    mix, in_background = _background(bank, grid, length, options, rng)
    for name in in_background:
        heard[:, names.index(name)] = 1.0
    background = mix
    low, high = options.num_sounds
    for _ in range(int(rng.integers(low, high + 1))):
        name, sound = _single_sound(bank, grid, options, rng)
        start = int(rng.integers(-len(sound) // 2, max(length - int(_SHORTEST_S * grid.rate_hz), 1)))
        sound = sound[max(-start, 0) : length - start]
        start = max(start, 0)
        if len(sound) < _SHORTEST_S * grid.rate_hz:
            continue
        only = mixed_at(background, sound, float(rng.uniform(*options.snr_db)), start) - background
        mix = mix + only
        _mark(heard[:, names.index(name)], counted[:, names.index(name)], sound, start, grid)
    peak = float(np.abs(mix).max(initial=0.0)) + 1e-6
    mix = mix * np.float32(10 ** (float(rng.uniform(*options.level_db)) / 20) / peak)
    return Scene(grid.windows(mix), heard, counted)


def _background(
    bank: SoundBank, grid: Grid, length: int, options: MixtureOptions, rng: np.random.Generator
) -> tuple[Samples, tuple[str, ...]]:
    """What goes on all the time, and the classes of it."""
    if not bank.beds or rng.random() < 0.08:
        return rng.standard_normal(length).astype(np.float32) * np.float32(0.3), ()
    mix = np.zeros(length, np.float32)
    names: list[str] = []
    for _ in range(int(rng.integers(1, 3))):
        name = bank.beds[int(rng.integers(len(bank.beds)))]
        bed = _one(bank.sounds[name], rng)
        bed = np.tile(bed, length // len(bed) + 2)
        start = int(rng.integers(len(bed) - length))
        bed = bed[start : start + length]
        mix += bed * np.float32(rng.uniform(0.3, 1.0) / active_rms(bed))
        names.append(name)
    if options.variation and rng.random() < 0.5:
        mix = equalised(mix, rng.uniform(-8.0, 8.0, 6).tolist())
    return mix, tuple(names)


def _single_sound(
    bank: SoundBank, grid: Grid, options: MixtureOptions, rng: np.random.Generator
) -> tuple[str, Samples]:
    of_events = rng.random() < options.event_share
    names = bank.ordinary if bank.ordinary and not of_events else bank.events
    name = names[int(rng.integers(len(names)))]
    if name == SIREN and rng.random() < options.synthesised_sirens:
        sound = synthesised_siren(grid.rate_hz, float(rng.uniform(*options.sound_s)), rng)
    else:
        sound = _one(bank.sounds[name], rng)
    longest = int(rng.uniform(*options.sound_s) * grid.rate_hz)
    if options.variation:
        # Twice as much, for it may be played faster; no more, for it takes time.
        sound = varied(sound[: 2 * longest], grid.rate_hz, rng)
    return name, sound[:longest]


def _one(sounds: Sequence[Samples], rng: np.random.Generator) -> Samples:
    return sounds[int(rng.integers(len(sounds)))]


def _mark(heard: NDArray[np.float32], counted: NDArray[np.float32], sound: Samples, start: int, grid: Grid) -> None:
    """Note in which snippets the sound is heard, and which only fall into its pauses or its echo."""
    first = start - grid.lead_samples
    active = sounding(sound)
    places = (first + _SOUND_FRAME * np.flatnonzero(active) + _SOUND_FRAME // 2) // grid.hop_samples
    num_active = np.bincount(places[(places >= 0) & (places < len(heard))], minlength=len(heard))
    is_heard = num_active * _SOUND_FRAME >= _MIN_HEARD_S * grid.rate_hz
    ends = np.arange(1, len(heard) + 1) * grid.hop_samples
    # In the window, if only in the part that belongs to the snippet before.
    in_window = (ends > first) & (ends - grid.window_samples < first + len(sound))
    counted[in_window & ~is_heard & (heard == 0)] = 0.0
    heard[is_heard] = 1.0
    counted[is_heard] = 1.0
