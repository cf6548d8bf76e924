from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from avdetect.text.records import HeardSound
from avdetect.timebase import Span
from avdetect.training.alignment.scene_bank import Scene
from avdetect.training.alignment.track_batches import ComposedBatches, PairedRecording
from avdetect.training.config import TextRecipe

NAMES = ("a dog", "rain", "a shot", "a horn", "glass")
HOP_S = 0.5


def embed(phrases: Sequence[str]) -> np.ndarray:
    """One number per name, so that a test can read a phrase back."""
    rows = np.zeros((len(phrases), len(NAMES) + 1), np.float32)
    for row, phrase in zip(rows, phrases, strict=True):
        row[next((index for index, name in enumerate(NAMES) if phrase.lower() == name), len(NAMES))] = 1
    return rows


def scenes() -> list[Scene]:
    """Scene ``i`` is one second of silence, one of sound (its embedding is ``i + 1``), one of silence."""
    made = []
    for index, name in enumerate(NAMES):
        audio = np.zeros((6, 2), np.float16)
        audio[2:4] = index + 1
        made.append(Scene(audio, (HeardSound(Span(1, 2), name, f"class {index % 3}"),)))
    return [*made, Scene(np.full((4, 2), -1, np.float16), ())]


def batches(**choices: object) -> ComposedBatches:
    recipe = TextRecipe.model_validate({"stage_a_steps": 3, "stage_b_steps": 3, "max_moments": 4, **choices})
    return ComposedBatches(scenes(), (), embed, recipe, hop_s=HOP_S, seed=1)


def heard_order(audio: torch.Tensor) -> list[int]:
    """The scenes of a track in the order in which they are heard."""
    values = [int(one) for one in audio[:, 0].tolist() if one > 0]
    return [value - 1 for value, before in zip(values, [0, *values], strict=False) if value != before or before == 0]


@pytest.mark.parametrize("step", range(6))
def test_the_same_step_is_the_same_batch(step: int) -> None:
    for one, other in zip(batches()[step], batches()[step], strict=True):
        torch.testing.assert_close(one, other)


def test_stage_a_tells_no_order_and_stage_b_does() -> None:
    made = batches()
    assert len(made) == 6
    assert not any(made[step].places.any() for step in range(3))
    assert all(made[step].places.any() for step in range(3, 6))


def test_stories_tell_what_is_heard_in_its_order() -> None:
    for step in range(3, 6):
        batch = batches()[step]
        for audio, phrases, places, told in zip(batch.audio, batch.phrases, batch.places, batch.told, strict=True):
            order = places[told].argsort(stable=True)
            story = phrases[told].argmax(-1)[order].tolist()
            assert len(story) == len({*places[told].tolist()})
            assert [name for name, before in zip(story, [-1, *story], strict=False) if name != before] == [
                name
                for name, before in zip(heard_order(audio), [-1, *heard_order(audio)], strict=False)
                if name != before
            ]


def test_a_twin_has_the_same_sounds_in_another_order() -> None:
    found = 0
    for step in range(3, 6):
        tracks = [heard_order(audio) for audio in batches()[step].audio]
        found += sum(sorted(one) == sorted(other) and one != other for one, other in pairwise(tracks))
    assert found > 5


def test_a_phrase_is_heard_where_it_sounds_and_not_counted_where_it_cannot_be_told() -> None:
    batch = batches()[0]
    names = batch.queries.argmax(-1)
    for index, name in enumerate(names.tolist()):
        if name == len(NAMES):  # a class
            continue
        sounding = batch.audio[..., 0] == name + 1
        assert torch.equal(batch.heard[index], sounding)
        same_class = (batch.audio[..., 0] > 0) & ((batch.audio[..., 0] - 1) % 3 == name % 3) & ~sounding
        assert torch.equal(batch.counted[index], batch.present & ~same_class)


def test_recordings_with_texts_of_their_own_come_as_they_are() -> None:
    pair = PairedRecording(np.full((7, 2), 9, np.float16), "Rain, then a dog.")
    recipe = TextRecipe(stage_a_steps=1, stage_b_steps=1)
    batch = ComposedBatches((), (pair,), embed, recipe, hop_s=HOP_S, seed=0)[1]
    assert (batch.audio == 9).all()
    assert batch.phrases[0].argmax(-1).tolist() == [1, 0]
    assert batch.places[0].tolist() == [0, 1]
    assert batch.queries.shape == (0, len(NAMES) + 1)
    assert batch.heard.shape[0] == 0


def test_no_track_is_longer_than_allowed() -> None:
    made = batches(max_moments=24, max_track_s=10.0, gap_snippets=3.0)
    assert max(made[step].audio.shape[1] for step in range(6)) <= 20
