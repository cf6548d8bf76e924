"""Text -> phrases: one thing to listen for each, and where in the story it comes; and a story -> text.

    "After a dog barks, glass breaks. Meanwhile people shout."
        a dog barks     place 0
        glass breaks    place 1
        people shout    place 1

Text is cut into sentences, and sentences at the words that say when: then, before, after, while ... Such a word
leaves the phrase and becomes an order. A comma alone or an "and" cuts nothing, since descriptions have them inside.

``tell`` goes the other way, with varied wording: ``split_phrases`` reads back what it writes, each phrase in its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

_Relation = Literal["next", "earlier", "same"]
"""The relation in time of a phrase to what was said just before it: after, before, or at the same time."""

_INNER: tuple[tuple[_Relation, str], ...] = (
    ("next", r"(?:and |but )?(?:then|afterwards)"),
    ("next", r"(?:and |but )?after (?:that|this|which)"),
    ("next", r"(?:and )(?:next|later|finally)(?: on)?"),
    ("next", r"(?:which is |is |and is )?followed by"),
    ("next", r"until"),
    ("next", r"before"),
    ("earlier", r"(?:which is |is |and is )?preceded by"),
    ("earlier", r"(?:and )?before (?:that|this|which)"),
    ("earlier", r"after"),
    ("same", r"(?:and )?at the same time(?: as)?"),
    ("same", r"(?:and )?(?:meanwhile|(?<!\ba\s)while|whilst|when)"),
)
"""Words that join two phrases of a sentence; the longest match wins."""

_OPENING: tuple[tuple[_Relation, str], ...] = (
    ("next", r"(?:and |but )?(?:first of all|first|at first|at the beginning|to begin with)"),
    ("next", r"(?:and |but )?(?:then|next|afterwards|later|later on|finally|at the end|in the end|lastly)"),
    ("next", r"(?:and |but )?(?:after|following) (?:that|this)"),
    ("earlier", r"(?:and |but )?before (?:that|this)"),
    ("same", r"(?:and |but )?(?:meanwhile|at the same time|during (?:that|this)|all the while)"),
)
"""Openings of a sentence, and the relation of what follows to the sentence before."""

_LEADING: dict[str, _Relation] = {
    "after": "next",
    "once": "next",
    "before": "earlier",
    "while": "same",
    "whilst": "same",
    "when": "same",
    "during": "same",
}
"""``After X, Y``: how Y lies to X."""

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\s*\n\s*")
_TRIM = " \t,;:.!?"


@dataclass(frozen=True, slots=True)
class Phrase:
    """One thing to listen for."""

    text: str
    place: int
    """0 for what comes first; phrases of the same place are heard together."""


def split_phrases(text: str) -> tuple[Phrase, ...]:
    """The phrases of ``text`` in the order in which they are written; none for a text without words."""
    story = _Story()
    for sentence in _SENTENCE_END.split(text):
        relation, rest = _opening(sentence.strip(_TRIM))
        for index, clause in enumerate(_clauses(rest)):
            if index == 0:
                story.begin(clause.text, relation)
            else:
                story.go_on(clause.text, clause.relation)
    return story.phrases()


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    relation: _Relation
    """Relation to the clause before it in its sentence; it has no meaning for the first."""


class _Story:
    """Phrases, and groups of them in order of time."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._groups: list[list[int]] = []
        self._sentence: list[int] = []
        """The phrases of the latest sentence."""

    def begin(self, text: str, relation: _Relation) -> None:
        """A sentence begins with ``text``; it follows on the whole story, or lies as said to the sentence before."""
        spoken = [self._place(index) for index in self._sentence]
        self._sentence = []
        if relation == "same" and spoken:
            self._add(text, max(spoken), new=False)
        elif relation == "earlier" and spoken:
            self._add(text, min(spoken), new=True)
        else:
            self._add(text, len(self._groups), new=True)

    def go_on(self, text: str, relation: _Relation) -> None:
        """The sentence goes on with ``text``, which lies as said to the phrase before."""
        place = self._place(self._sentence[-1])
        self._add(text, place + (relation == "next"), new=relation != "same")

    def phrases(self) -> tuple[Phrase, ...]:
        """All of them, as written."""
        return tuple(Phrase(text, self._place(index)) for index, text in enumerate(self._texts))

    def _add(self, text: str, place: int, *, new: bool) -> None:
        """Put ``text`` into the group at ``place``, or into a new one there."""
        if new:
            self._groups.insert(place, [])
        self._groups[place].append(len(self._texts))
        self._sentence.append(len(self._texts))
        self._texts.append(text)

    def _place(self, index: int) -> int:
        return next(place for place, group in enumerate(self._groups) if index in group)


def _either(patterns: tuple[tuple[_Relation, str], ...]) -> str:
    return "|".join(f"(?:{pattern})" for _, pattern in sorted(patterns, key=lambda one: -len(one[1])))


_OPENING_WORDS = re.compile(rf"({_either(_OPENING)})\b[,:]?\s+", re.IGNORECASE)
_INNER_WORDS = re.compile(rf"[,;]?\s+({_either(_INNER)})\b[,:]?\s+", re.IGNORECASE)
_LEADING_WORD = re.compile(rf"({'|'.join(_LEADING)})\s+", re.IGNORECASE)


def _relation(word: str, patterns: tuple[tuple[_Relation, str], ...]) -> _Relation:
    return next(relation for relation, pattern in patterns if re.fullmatch(pattern, word, re.IGNORECASE))


def _opening(sentence: str) -> tuple[_Relation, str]:
    """Return the sentence's relation to what was said before it, and the rest of the sentence."""
    match = _OPENING_WORDS.match(sentence)
    return ("next", sentence) if match is None else (_relation(match[1], _OPENING), sentence[match.end() :])


def _clauses(sentence: str) -> list[_Clause]:
    leading = _LEADING_WORD.match(sentence)
    if leading is not None:
        first, comma, rest = sentence[leading.end() :].partition(",")
        if comma and rest.strip(_TRIM):
            relation = _LEADING[leading[1].lower()]
            main, *more = _joined(rest)
            return [*_joined(first), _Clause(main.text, relation), *more]
        sentence = sentence[leading.end() :]
    return _joined(sentence)


def _joined(sentence: str) -> list[_Clause]:
    """Cut at every joining word."""
    parts = _INNER_WORDS.split(f" {sentence.strip(_TRIM)}")
    texts, words = parts[::2], parts[1::2]
    relations: list[_Relation] = ["next", *(_relation(word, _INNER) for word in words)]
    clauses = [_Clause(text.strip(_TRIM), relation) for text, relation in zip(texts, relations, strict=True)]
    return [clause for clause in clauses if clause.text]


Moment = tuple[str, ...]
"""Descriptions of what is heard at one time: one, or several where sounds overlap."""

_IN_TURN = (
    "{A}, then {b}",
    "{A} and then {b}",
    "{A} before {b}",
    "{A}, followed by {b}",
    "First {a}, then {b}",
    "{B} after {a}",
)
_IN_TURN_LEADING = ("After {a}, {b}", "Before {b}, {a}")
"""Templates for descriptions without a comma, as the first comma ends the leading clause."""
_TOGETHER = ("{A} while {b}", "{A}, and at the same time {b}")
_TOGETHER_LEADING = ("While {a}, {b}",)
_OPENINGS = ("Then", "Next,", "After that,", "Later,")
_OPENED = ("First ", "After ", "Before ", "While ")
"""Sentences that begin so need no opening."""
_SHARE_JOINED = 0.6
"""Share of the moments that are joined with the next one in a sentence, where they can be."""
_SHARE_OPENED = 0.5
"""Share of the sentences after the first that say how they follow on."""


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
