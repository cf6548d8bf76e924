from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from avdetect.serve.hours import Hours, is_in

MONDAY = datetime(2026, 11, 23)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:00", [(0, 22, 0), (1, 0, 0), (1, 5, 59)], [(0, 21, 59), (1, 6, 0)]),
        ("8:00-20:30", [(0, 8, 0), (6, 20, 29)], [(0, 7, 59), (6, 20, 30)]),
        ("sat,sun 08:00-20:00", [(5, 8, 0), (6, 19, 59)], [(0, 9, 0), (4, 9, 0)]),
        ("fri-mon 22:00-06:00", [(4, 23, 0), (7, 23, 0), (8, 5, 0)], [(3, 23, 0), (4, 5, 0), (8, 22, 30)]),
        ("mon 00:00-24:00", [(0, 0, 0), (0, 23, 59)], [(1, 0, 0)]),
        ("12:00-12:00", [(0, 11, 0), (0, 13, 0)], []),
    ],
)
def test_hours_hold_from_their_beginning_to_their_end(
    text: str, inside: list[tuple[int, int, int]], outside: list[tuple[int, int, int]]
) -> None:
    hours = Hours.parse(text)

    def at(day: int, hour: int, minute: int) -> datetime:
        return MONDAY + timedelta(days=day, hours=hour, minutes=minute)

    assert all(hours.holds(at(*when)) for when in inside)
    assert not any(hours.holds(at(*when)) for when in outside)


@pytest.mark.parametrize(
    "text", ["", "22-6", "25:00-06:00", "22:00", "22:60-23:00", "24:00-06:00", "someday 08:00-09:00", "24:30-1:00"]
)
def test_what_is_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='must be hours as in "22:00-06:00"'):
        Hours.parse(text)


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be changed here")
def test_hours_are_those_of_the_local_time(in_new_york: None) -> None:
    assert is_in([Hours.parse("22:00-23:00")], datetime(2026, 11, 24, 3, 30, tzinfo=UTC))
    assert not is_in([Hours.parse("03:00-04:00")], datetime(2026, 11, 24, 3, 30, tzinfo=UTC))
