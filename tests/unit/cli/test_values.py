from __future__ import annotations

import pytest

from avdetect.errors import UsageError
from avdetect_cli.terminal.text import show_duration, show_time
from avdetect_cli.values import parse_classes, parse_thresholds, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90.5", 90.5),
        (".5", 0.5),
        ("1:30", 90),
        ("90:00", 5400),
        ("1:02:03.5", 3723.5),
        (" 7 ", 7),
    ],
)
def test_a_time_is_seconds_or_a_clock(text: str, seconds: float) -> None:
    assert parse_time(text, "--start") == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:60", "1:60:00", "1:2:3:4", "1:", "inf", "nan", "1e3", "5s"])
def test_what_is_no_time_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"--start .* is not a time: write seconds"):
        parse_time(text, "--start")


def test_thresholds_are_for_all_classes_or_for_one_and_the_last_one_counts() -> None:
    assert parse_thresholds(["0.6", "gunshot=0.4", "siren = 1", "0.5", "gunshot=0.3"]) == (
        0.5,
        {"gunshot": 0.3, "siren": 1.0},
    )


@pytest.mark.parametrize("text", ["", "x", "1.1", "-0.1", "nan", "gunshot=", "gunshot=2", "=0.5", "gunshot 0.5"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write a number from 0 to 1, or CLASS=NUMBER"):
        parse_thresholds([text])


def test_classes_are_separated_by_commas() -> None:
    assert parse_classes(" gunshot, siren ,") == ["gunshot", "siren"]
    assert parse_classes(None) is None


def test_classes_without_a_name_are_refused() -> None:
    with pytest.raises(UsageError, match="--classes is empty"):
        parse_classes(" , ")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.000"), (7.04, "0:07.040"), (59.9996, "1:00.000"), (3723.5, "1:02:03.500"), (-0.5, "-0:00.500")],
)
def test_a_time_is_shown_to_the_millisecond(seconds: float, shown: str) -> None:
    assert show_time(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (36000, "10:00:00")])
def test_a_duration_is_shown_to_the_second(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown
