from __future__ import annotations

import numpy as np
import pytest

from avdetect.events.event import Event
from avdetect.timebase import Span
from avdetect_cli.timeline import ASCII_LEVELS, BLOCK_LEVELS, axis, column_peaks, columns_in_events, draw_levels


def _peaks(values: list[float], num_columns: int) -> list[float]:
    start_s = np.arange(len(values), dtype=np.float64)
    span = Span(0.0, float(len(values)))
    return list(column_peaks(start_s, start_s + 1, np.array(values, np.float32), span, num_columns))


def test_a_column_shows_the_highest_of_its_snippets() -> None:
    assert _peaks([0.0, 1.0, 0.5, 0.25], 2) == [1.0, 0.5]


def test_a_snippet_fills_all_columns_that_it_covers() -> None:
    assert _peaks([0.0, 1.0], 4) == [0.0, 0.0, 1.0, 1.0]


def test_a_hole_between_snippets_shows_as_such() -> None:
    peaks = column_peaks(
        np.array([0.0, 3.0]), np.array([1.0, 4.0]), np.array([0.5, 0.5], np.float32), Span(0.0, 4.0), 4
    )

    assert draw_levels(peaks, BLOCK_LEVELS) == "▅  ▅"


@pytest.mark.parametrize("levels", [BLOCK_LEVELS, ASCII_LEVELS])
def test_levels_rise_from_the_lowest_to_the_highest(levels: str) -> None:
    assert draw_levels(np.linspace(0.0, 1.0, 8), levels) == levels


def test_the_shortest_event_still_touches_a_column() -> None:
    inside = columns_in_events([Event("a", 500.0, 500.1, 500.0, 0.9, "audio")], Span(0.0, 1000.0), 10)

    assert np.flatnonzero(inside).tolist() == [5]


def test_an_event_up_to_a_border_does_not_touch_the_next_column() -> None:
    inside = columns_in_events([Event("a", 1.0, 2.0, 1.5, 0.9, "audio")], Span(0.0, 10.0), 10)

    assert np.flatnonzero(inside).tolist() == [1]


def test_an_event_at_the_very_end_touches_the_last_column() -> None:
    inside = columns_in_events([Event("a", 10.0, 10.0, 10.0, 0.9, "audio")], Span(0.0, 10.0), 10)

    assert np.flatnonzero(inside).tolist() == [9]


@pytest.mark.parametrize("num_columns", [16, 40, 71, 160])
@pytest.mark.parametrize("end_s", [0.04, 0.64, 9.6, 18.8, 61.0, 3599.0, 7200.0, 360_000.0])
@pytest.mark.parametrize("start_s", [0.0, 12.5])
def test_the_axis_stays_in_its_width_and_its_labels_apart(start_s: float, end_s: float, num_columns: int) -> None:
    drawn = axis(Span(start_s, start_s + end_s), num_columns, ascii_only=True)

    assert len(drawn.marks) == num_columns
    assert len(drawn.labels) <= num_columns
    assert drawn.marks.count("+") == len(drawn.labels.split())


def test_the_axis_marks_round_times_where_they_are() -> None:
    drawn = axis(Span(5.0, 25.0), 40, ascii_only=False)

    assert [column for column, mark in enumerate(drawn.marks) if mark == "┬"] == [0, 10, 20, 30]
    assert drawn.labels.split() == ["0:05", "0:10", "0:15", "0:20"]
    assert drawn.labels.index("0:10") == 10
