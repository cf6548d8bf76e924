"""Tests."""

from __future__ import annotations

import numpy as np
import pytest

from avdetect.text.phrases import Phrase, split_phrases, tell


def story(text: str) -> list[tuple[str, int]]:
    return [(phrase.text, phrase.place) for phrase in split_phrases(text)]


@pytest.mark.parametrize(
    "text",
    ["a dog barks, then glass breaks", "a dog barks before glass breaks", "a dog barks, followed by glass breaks"],
)
def test_what_is_said_in_turn_is_in_turn(text: str) -> None:
    assert story(text) == [("a dog barks", 0), ("glass breaks", 1)]


@pytest.mark.parametrize("text", ["glass breaks after a dog barks", "Glass breaks, preceded by a dog barks."])
def test_what_is_said_later_may_come_first(text: str) -> None:
    assert [(phrase.lower(), place) for phrase, place in story(text)] == [("glass breaks", 1), ("a dog barks", 0)]


def test_a_leading_clause_says_how_the_main_one_lies_to_it() -> None:
    assert story("After a shot, a scream.") == [("a shot", 0), ("a scream", 1)]
    assert story("Before a shot, a scream.") == [("a shot", 1), ("a scream", 0)]
    assert story("While rain falls, a man talks.") == [("rain falls", 0), ("a man talks", 0)]


def test_sentences_follow_each_other_whatever_the_order_inside_them() -> None:
    assert story("A siren after glass. Then rain.") == [("A siren", 1), ("glass", 0), ("rain", 2)]


def test_a_sentence_may_go_back_or_stay() -> None:
    assert story("Glass, then rain. Before that, a shot. Meanwhile a dog.") == [
        ("Glass", 1),
        ("rain", 2),
        ("a shot", 0),
        ("a dog", 0),
    ]


def test_a_comma_or_an_and_cuts_nothing() -> None:
    assert story("a loud blast, a bomb going off and debris") == [("a loud blast, a bomb going off and debris", 0)]


def test_a_joining_word_inside_another_word_cuts_nothing() -> None:
    assert len(split_phrases("the aftermath of a storm, authentic recording, beforehand")) == 1


def test_text_without_words_has_no_phrases() -> None:
    assert split_phrases(" ... \n ") == ()


def test_a_joining_word_alone_is_a_phrase() -> None:
    assert split_phrases("then") == (Phrase("then", 0),)


def test_a_long_paragraph_is_a_sequence() -> None:
    text = " ".join(f"Sound number {number} is heard for a while in this recording." for number in range(40))
    phrases = split_phrases(text)
    assert [phrase.place for phrase in phrases] == list(range(40))


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
