"""The JSON document of an answer: what ``avdetect query --json`` prints.

``docs/schema/answer.schema.json`` describes it. Within a major version of ``SCHEMA_VERSION`` fields are added, never
removed or changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from avdetect.search.answer import Answer, Place, QueryOptions
from avdetect.sinks.records import round_probability, round_time
from avdetect.text.scoring import Story

__all__ = ["SCHEMA_VERSION", "answer_document"]

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
