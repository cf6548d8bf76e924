"""Events as plain values, rounded to what they mean: times to a millisecond, probabilities to four places."""

from __future__ import annotations

import json
from collections.abc import Mapping

from avdetect.events.event import Event

__all__ = ["event_record", "json_line", "round_probability", "round_time"]


def round_time(seconds: float) -> float:
    """To a millisecond."""
    return round(float(seconds), 3)


def round_probability(probability: float) -> float:
    """To four decimals."""
    return round(float(probability), 4)


def event_record(event: Event) -> dict[str, str | float]:
    """The fields of an event, in the order in which every format has them."""
    return {
        "label": event.label,
        "start_s": round_time(event.start_s),
        "end_s": round_time(event.end_s),
        "peak_s": round_time(event.peak_s),
        "confidence": round_probability(event.confidence),
        "modality": event.modality,
    }


def json_line(value: Mapping[str, object]) -> str:
    """One line of JSON, ASCII only, so that it survives any terminal, pipe and file name.

    Raises:
        ValueError: a number is infinite or not a number, which JSON does not have.
    """
    return json.dumps(value, allow_nan=False) + "\n"
