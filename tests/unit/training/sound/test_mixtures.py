from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.training.sound.mixtures import Grid, MixtureOptions, SoundBank, mixed_scene

GRID = Grid(rate_hz=16_000, hop_samples=10_240, window_samples=15_600)
PLAIN = MixtureOptions(
    num_sounds=(1, 1),
    event_share=1.0,
    snr_db=(20.0, 20.0),
    variation=False,
    synthesised_sirens=0.0,
    level_db=(0.0, 0.0),
)
Samples = NDArray[np.float32]


def tone(frequency_hz: float, duration_s: float, level: float = 0.5) -> Samples:
    time_s = np.arange(int(duration_s * GRID.rate_hz)) / GRID.rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def bank_of(beep: Samples, **others: Samples) -> SoundBank:
    sounds = [("beep", beep), ("hum", tone(100, 3.0)), *others.items()]
    return SoundBank.of(sounds, ("beep", "hum", *others), events=("beep",), beds=("hum",))


def test_windows_are_those_that_the_scorer_cuts() -> None:
    lead = GRID.lead_samples
    samples = np.arange(lead + 3 * GRID.hop_samples, dtype=np.float32)
    windows = GRID.windows(samples)
    assert windows.shape == (3, GRID.window_samples)
    for snippet in range(3):  # it ends with its snippet
        assert windows[snippet, -1] == lead + (snippet + 1) * GRID.hop_samples - 1
        assert windows[snippet, 0] == windows[snippet, -1] - GRID.window_samples + 1


def test_a_class_is_heard_where_its_sound_was_mixed_in() -> None:
    bank = bank_of(tone(3000, 1.0))
    seen = set()
    for seed in range(20):
        scene = mixed_scene(bank, GRID, PLAIN, np.random.default_rng(seed))
        own = scene.windows[:, -GRID.hop_samples :]
        spectrum = np.abs(np.fft.rfft(own))
        loud = spectrum[:, int(3000 / GRID.rate_hz * GRID.hop_samples)] > 200
        sure = scene.counted[:, 0] > 0
        np.testing.assert_array_equal((scene.heard[:, 0] > 0)[sure], loud[sure])
        seen |= set(scene.heard[:, 0])
    assert seen == {0.0, 1.0}


def test_a_background_is_heard_all_the_time() -> None:
    scene = mixed_scene(bank_of(tone(3000, 1.0)), GRID, PLAIN, np.random.default_rng(1))
    assert scene.heard[:, 1].all()


def test_a_pause_inside_a_sound_is_left_open() -> None:
    gap = np.zeros(3 * GRID.rate_hz, np.float32)
    bank = bank_of(np.concatenate([tone(3000, 0.3), gap, tone(3000, 0.3)]))
    options = replace(PLAIN, sound_s=(4.0, 4.0))
    scenes = [mixed_scene(bank, GRID, options, np.random.default_rng(seed)) for seed in range(20)]
    opened = [scene for scene in scenes if (scene.counted[:, 0] == 0).any()]
    assert opened
    assert all((scene.heard[:, 0][scene.counted[:, 0] == 0] == 0).all() for scene in opened)
    assert all((scene.counted[:, 1] == 1).all() for scene in scenes)


def test_the_same_seed_gives_the_same_scene_and_another_another() -> None:
    bank = bank_of(tone(3000, 1.0), siren=tone(700, 2.0))
    first, again, other = (
        mixed_scene(bank, GRID, MixtureOptions(), np.random.default_rng((7, seed))) for seed in (0, 0, 1)
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.windows, other.windows)


def test_every_scene_is_finite_and_not_clipped_whatever_is_drawn() -> None:
    bank = bank_of(tone(3000, 0.05), siren=tone(700, 2.0), click=np.ones(1, np.float32))
    for seed in range(60):
        scene = mixed_scene(bank, GRID, MixtureOptions(num_sounds=(0, 5)), np.random.default_rng(seed))
        assert np.isfinite(scene.windows).all()
        assert np.abs(scene.windows).max() <= 1.0


def test_classes_are_drawn_alike_however_many_recordings_they_have() -> None:
    sounds = [("rare", tone(500, 1.0)), *(("common", tone(900, 1.0)) for _ in range(30))]
    bank = SoundBank.of(sounds, ("common", "rare"), events=("common", "rare"), beds=())
    scenes = [mixed_scene(bank, GRID, PLAIN, np.random.default_rng(seed)) for seed in range(100)]
    common, rare = (sum(bool(scene.heard[:, column].any()) for scene in scenes) for column in (0, 1))
    assert 30 < rare < 70
    assert common + rare == pytest.approx(100, abs=5)  # a scene may miss its sound where it begins at the very end


def test_without_backgrounds_and_named_events_all_classes_matter() -> None:
    bank = SoundBank.of([("a", tone(500, 1.0)), ("b", tone(900, 1.0))], ("a", "b"), events=("fight",), beds=("crowd",))
    assert bank.events == ("a", "b")
    assert not bank.beds
    assert mixed_scene(bank, GRID, PLAIN, np.random.default_rng(0)).windows.any()


def test_a_bank_of_silence_is_refused() -> None:
    with pytest.raises(DataError, match="no sound to mix"):
        SoundBank.of([("a", np.zeros(100, np.float32))], ("a",), events=(), beds=())
