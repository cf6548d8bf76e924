"""A question's options, its answer, and the answer as the JSON document that ``avdetect query --json`` prints.

``docs/schema/answer.schema.json`` describes the document. Within a major version of ``SCHEMA_VERSION`` fields are
added, never removed or changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from avdetect.errors import UsageError
from avdetect.events.event import round_probability, round_time
from avdetect.manifest import EventRule
from avdetect.text.scoring import Story


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Options of a question."""

    rule: EventRule
    """The rule that turns relevance into places. In a passage, one phrase must reach ``on`` and others ``off``."""
    top: int = 20
    """Number of places that are wanted."""
    in_order: bool = False
    """True if the phrases of a story must be heard in its order."""
    within_s: float = 300.0
    """Longest passage of a story; a longer recording is compared with it in stretches of this length."""
    at_least: int | None = None
    """Number of phrases of a story that a passage must hold; ``None`` for two thirds of them, but at least two."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"top must be at least 1, got {self.top}.")
        if not self.within_s > 0:
            raise UsageError(f"within must be above zero, got {self.within_s:g} s.")
        if self.at_least is not None and self.at_least < 1:
            raise UsageError(f"a passage must hold at least 1 phrase, got {self.at_least}.")

    def check(self, story: Story) -> None:
        """Check that these options fit ``story``.

        Raises:
            UsageError: the order of one phrase is asked for, or more phrases than there are.
        """
        told = len(story.texts)
        if self.in_order and told == 1:
            raise UsageError(
                f"--order needs several phrases, and {story.texts[0]!r} is one: join them by 'then', 'before' or "
                "'after'."
            )
        if self.at_least is not None and self.at_least > told:
            raise UsageError(f"--at-least {self.at_least} is more than the text has phrases: it has {told}.")

    def needed(self, story: Story) -> int:
        """Return the number of phrases of ``story`` that a passage must hold."""
        if self.at_least is not None:
            return self.at_least
        told = len(story.texts)
        return min(max(math.ceil(2 * told / 3), 2), told)


@dataclass(frozen=True, slots=True)
class HeardPhrase:
    """A phrase in a place."""

    text: str
    relevance: float
    """Relevance of the snippet in which it is heard most; 0 where it is not heard."""
    time_s: float | None
    """The middle of that snippet."""


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a recording in which the question is heard."""

    source: str
    start_s: float
    """Seconds from the grid's origin."""
    end_s: float
    score: float
    """The highest smoothed relevance of a phrase, or the mean relevance of the phrases of a story."""
    peak_s: float
    """Middle of the most relevant snippet."""
    phrases: tuple[HeardPhrase, ...]
    """All that was asked for, as told."""
    fit: float | None
    """Score of a story as a whole against the recording, or the stretch around a passage; ``None`` for a phrase."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question."""

    phrases: tuple[str, ...]
    """The phrases of the question, as it was understood."""
    places: tuple[Place, ...]
    """The best first: of a phrase by score, of a story by fit."""
    nearest: Place | None
    """The nearest place, where nothing was found and there is any sound."""
    num_recordings: int
    """Asked."""
    heard_s: float
    """Their total length."""


SCHEMA_VERSION = "1.0"


def answer_document(
    text: str,
    story: Story,
    options: QueryOptions,
    answer: Answer,
    *,
    avdetect_version: str,
    bundle: str,
    errors: Sequence[str] = (),
) -> dict[str, object]:
    """All of an answer, as values that ``json`` takes.

    Args:
        text: what was asked, as it was typed.
        story: as it was understood.
        options: what was wanted.
        answer: what was found.
        avdetect_version: of this package.
        bundle: name and version of what listened.
        errors: why some recordings could not be asked.
    """
    is_story = len(story.texts) > 1
    return {
        "schema_version": SCHEMA_VERSION,
        "avdetect": avdetect_version,
        "bundle": bundle,
        "query": {
            "text": text,
            "phrases": [
                {"text": phrase, "order": place}
                for phrase, place in zip(story.texts, story.places.tolist(), strict=True)
            ],
            "in_order": options.in_order,
            "threshold": round_probability(options.rule.on),
            "off_threshold": round_probability(options.rule.off),
            "top": options.top,
            "within_s": round_time(options.within_s) if is_story else None,
            "at_least": options.needed(story) if is_story else None,
        },
        "num_recordings": answer.num_recordings,
        "heard_s": round_time(answer.heard_s),
        "places": [_place(place) for place in answer.places],
        "nearest": None if answer.nearest is None else _place(answer.nearest),
        "errors": list(errors),
    }


def _place(place: Place) -> dict[str, object]:
    return {
        "source": place.source,
        "start_s": round_time(place.start_s),
        "end_s": round_time(place.end_s),
        "peak_s": round_time(place.peak_s),
        "score": round_probability(place.score),
        "fit": None if place.fit is None else round(place.fit, 4),
        "phrases": [
            {
                "text": phrase.text,
                "relevance": round_probability(phrase.relevance),
                "time_s": None if phrase.time_s is None else round_time(phrase.time_s),
            }
            for phrase in place.phrases
        ],
    }
