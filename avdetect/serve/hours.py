"""Hours of the day at which other rules hold: how they are written, and whether it is such an hour."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

__all__ = ["Hours", "HoursSetting", "is_in"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"([01]?\d|2[0-4]):([0-5]\d)"
_HOURS = re.compile(rf"(?:(?P<days>[a-z,\- ]+?)\s+)?{_TIME}\s*-\s*{_TIME}", re.IGNORECASE)
_DAY_MINUTES = 24 * 60
_EXPECTED = 'must be hours as in "22:00-06:00" or "sat,sun 08:00-20:00"'


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of some days of the week, in the service's local time; half-open."""

    text: str
    """As it was written."""
    days: frozenset[int]
    """On which it begins, from 0 for Monday."""
    start_minute: int
    """Of the day."""
    end_minute: int
    """Of the same day, or of the next one where it is not after ``start_minute``."""

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read ``"22:00-06:00"`` or ``"mon-fri 08:00-18:00"``.

        Raises:
            ValueError: it is something else.
        """
        match = _HOURS.fullmatch(text.strip())
        if match is None:
            raise ValueError(_EXPECTED)
        minutes = [int(hour) * 60 + int(minute) for hour, minute in (match.group(2, 3), match.group(4, 5))]
        if max(minutes) > _DAY_MINUTES or minutes[0] == _DAY_MINUTES:
            raise ValueError(_EXPECTED)
        return cls(text, _days(match["days"]), *minutes)

    def holds(self, at: datetime) -> bool:
        """Whether local time ``at`` is within."""
        minute, today = at.hour * 60 + at.minute, at.weekday()
        if self.start_minute < self.end_minute:
            return today in self.days and self.start_minute <= minute < self.end_minute
        begun_today = today in self.days and minute >= self.start_minute
        return begun_today or ((today - 1) % 7 in self.days and minute < self.end_minute)


def is_in(hours: Iterable[Hours], at: datetime) -> bool:
    """Whether ``at``, in any time zone, is in one of ``hours`` of the local time."""
    local = at.astimezone()
    return any(part.holds(local) for part in hours)


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(f"{_EXPECTED}; days are {', '.join(_DAYS)}")
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {day % 7 for day in range(start, end + (1 if end >= start else 8))}
    return frozenset(days)


def _parse(value: Any) -> Any:
    if isinstance(value, Hours):
        return value
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)
    return Hours.parse(value)


HoursSetting = Annotated[Hours, BeforeValidator(_parse)]
"""Hours in a configuration."""
