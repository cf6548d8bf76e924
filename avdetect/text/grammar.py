"""What is heard, told in words: a story of sounds -> text of varied wording.

``split_phrases`` reads back what ``tell`` writes: the same phrases, each in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Moment", "tell"]

Moment = tuple[str, ...]
"""What is heard at one time: one description or, where sounds overlap, several."""

_IN_TURN = (
    "{A}, then {b}",
    "{A} and then {b}",
    "{A} before {b}",
    "{A}, followed by {b}",
    "First {a}, then {b}",
    "{B} after {a}",
)
_IN_TURN_LEADING = ("After {a}, {b}", "Before {b}, {a}")
"""For descriptions without a comma: the first one ends the leading clause."""
_TOGETHER = ("{A} while {b}", "{A}, and at the same time {b}")
_TOGETHER_LEADING = ("While {a}, {b}",)
_OPENINGS = ("Then", "Next,", "After that,", "Later,")
_OPENED = ("First ", "After ", "Before ", "While ")
"""Sentences that begin so need no opening."""
_SHARE_JOINED = 0.6
"""Of the moments that could be joined with the next one in a sentence."""
_SHARE_OPENED = 0.5
"""Of the sentences after the first that say how they follow on."""


def tell(story: Sequence[Moment], rng: np.random.Generator) -> str:
    """The moments of ``story``, in order of time, as sentences.

    Args:
        story: at least one moment, each with at least one description.
        rng: chooses the wording.
    """
    sentences: list[str] = []
    left = list(story)
    while left:
        moment = left.pop(0)
        if len(moment) > 1:
            sentence = _together(moment, rng)
        elif left and len(left[0]) == 1 and rng.random() < _SHARE_JOINED:
            sentence = _in_turn(moment[0], left.pop(0)[0], rng)
        else:
            sentence = _capital(moment[0])
        if sentences and not sentence.startswith(_OPENED) and rng.random() < _SHARE_OPENED:
            sentence = f"{rng.choice(_OPENINGS)} {_small(sentence)}"
        sentences.append(sentence)
    return " ".join(f"{sentence}." for sentence in sentences)


def _in_turn(first: str, second: str, rng: np.random.Generator) -> str:
    plain = "," in first or "," in second
    return _fill(_choice(_IN_TURN if plain else (*_IN_TURN, *_IN_TURN_LEADING), rng), first, second)


def _together(moment: Moment, rng: np.random.Generator) -> str:
    first, second, *more = moment
    plain = "," in first or "," in second
    sentence = _fill(_choice(_TOGETHER if plain else (*_TOGETHER, *_TOGETHER_LEADING), rng), first, second)
    return ", and at the same time ".join([sentence, *map(_small, more)])


def _choice(templates: Sequence[str], rng: np.random.Generator) -> str:
    return templates[int(rng.integers(len(templates)))]


def _fill(template: str, first: str, second: str) -> str:
    return template.format(a=_small(first), b=_small(second), A=_capital(first), B=_capital(second))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
