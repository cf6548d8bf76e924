from __future__ import annotations

import numpy as np
import pytest

from avdetect.text.grammar import tell
from avdetect.text.phrases import split_phrases

SOUNDS = ("a dog barking", "Glass breaking", "rain, heard from indoors", "a voice: a man talking", "two gunshots")


@pytest.mark.parametrize("seed", range(200))
def test_what_is_told_is_read_back_with_its_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, size=rng.integers(1, 6))
    told = [tuple(rng.choice(SOUNDS, size=count, replace=False).tolist()) for count in counts]
    read = {(phrase.text.lower(), phrase.place) for phrase in split_phrases(tell(told, rng))}
    assert read == {(sound.lower(), place) for place, moment in enumerate(told) for sound in moment}


def test_the_same_seed_gives_the_same_words() -> None:
    told = [("a dog barking",), ("rain", "wind"), ("a shot",)]
    assert tell(told, np.random.default_rng(3)) == tell(told, np.random.default_rng(3))


def test_wording_varies() -> None:
    rng = np.random.default_rng(0)
    assert len({tell([("a dog barking",), ("a shot",)], rng) for _ in range(60)}) > 6
