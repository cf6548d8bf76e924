from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.runtime.pipeline import ScoreStats
from avdetect.timebase import Span
from avdetect_cli.output.plan import Finding
from avdetect_cli.terminal.summary import Summary
from avdetect_cli.terminal.timeline import (
    ASCII_LEVELS,
    BLOCK_LEVELS,
    axis,
    column_peaks,
    columns_in_events,
    draw_levels,
)

HOP_S = 0.64
CLASSES = ("gunshot", "scream")


def curve(num_snippets: int) -> ScoreCurve:
    """A gunshot in the second quarter, and nothing known of the last quarter."""
    scores = np.zeros((num_snippets, 2), np.float32)
    scores[num_snippets // 4 : num_snippets // 2, 0] = 1.0
    present = np.ones((num_snippets, 2), np.bool_)
    present[num_snippets * 3 // 4 :] = False
    start_s = np.arange(num_snippets, dtype=np.float64) * np.float64(HOP_S)
    return ScoreCurve("a.mp4", CLASSES, (True, True), start_s, start_s + HOP_S, scores, scores, scores, present)


def shown(finding: Finding, *, width: int = 80, encoding: str = "utf-8", colour: bool = False) -> list[str]:
    from rich.console import Console

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    Summary(Console(file=stream, width=width, force_terminal=colour, color_system="standard" if colour else None)).show(
        finding
    )
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


def gunshots(times: Sequence[float], confidence: float = 0.9) -> tuple[Event, ...]:
    return tuple(Event("gunshot", time, time + 1.0, time + 0.5, confidence, "audio") for time in times)


def test_a_row_shows_the_score_over_time_and_where_nothing_is_known() -> None:
    row = shown(Finding("a.mp4", curve(64), gunshots([10.24])))[2]

    bars = row.removeprefix("  gunshot  ").removesuffix(" x1")
    assert len(bars) == 64
    assert bars == "▁" * 16 + "█" * 16 + "▁" * 16 + " " * 16


def test_only_classes_with_events_have_a_row() -> None:
    rows = [line.split()[0] for line in shown(Finding("a.mp4", curve(64), gunshots([10.24]))) if line]

    assert rows.count("gunshot") == 1
    assert "scream" not in rows


def test_a_class_that_is_called_by_a_long_phrase_leaves_room_for_its_curve() -> None:
    phrase = "the long and loud wail of a fire engine that passes by"
    prompted = replace(curve(64), classes=("gunshot", phrase))
    lines = shown(Finding("a.mp4", prompted, (Event(phrase, 0.0, 1.0, 0.5, 0.9, "audio"),)))

    assert lines[2].startswith("  the long and loud wail of a f...  ")
    assert all(len(line) <= 80 for line in lines)


def test_the_columns_of_an_event_are_coloured() -> None:
    row = shown(Finding("a.mp4", curve(64), gunshots([10.24])), colour=True)[2]

    before, inside, *_ = row.split("\x1b[1;31m")  # bold red
    assert "█" not in before
    assert inside.startswith("█")


def test_no_line_but_the_title_is_wider_than_the_terminal() -> None:
    finding = Finding("a.mp4", curve(500), gunshots([10.24, 99.0]), stats=ScoreStats(2.0, 320.0, 500, ("CPU",)))

    for width in (60, 80, 200, 500):
        assert max(len(line) for line in shown(finding, width=width)[1:]) <= width


def test_an_encoding_without_blocks_gets_ascii() -> None:
    lines = shown(Finding("a.mp4", curve(64), gunshots([10.24])), encoding="ascii")

    assert "____####____" in lines[2].replace("#" * 16, "####")
    assert lines[3].split()[0].startswith("+--")


def test_the_facts_of_the_source_are_in_the_title() -> None:
    media = MediaInfo("a.wav", duration_s=75.2, audio_codec="pcm_s16le", audio_rate_hz=8000, audio_channels=6)

    assert shown(Finding("a.wav", curve(64), media=media))[0] == (
        "a.wav  ·  1:15  ·  no picture  ·  pcm_s16le 8 kHz 6 channels"
    )


def test_a_name_is_shown_as_it_is_whatever_it_looks_like() -> None:
    assert (
        shown(Finding("[red]a[/red] :smile: 1.mp4", curve(64)), colour=True)[0].count("[red]a[/red] :smile: 1.mp4") == 1
    )


def test_without_events_the_strongest_score_is_named() -> None:
    lines = shown(Finding("a.mp4", curve(64)))

    assert "  No events. The strongest was gunshot with 1.00 at 0:10.560." in lines


def test_a_source_without_a_snippet_is_no_trouble() -> None:
    assert shown(Finding("a.mp4", curve(0)))[-1] == "  No events."


def test_of_very_many_events_the_most_confident_are_listed_in_order_of_time() -> None:
    events = gunshots(range(0, 100, 2), 0.9) + gunshots([101.0], 0.5)

    lines = shown(Finding("a.mp4", curve(200), events))

    starts = [line.split()[0] for line in lines if line.endswith("heard")]
    assert len(starts) == 50
    assert starts == sorted(starts)
    assert "1:41.000" not in starts
    assert "  The 50 most confident of 51 events; --format csv lists all." in lines


def test_notes_say_where_they_are_of() -> None:
    notes = (MediaNote("no-audio", "there is no sound."), MediaNote("gap", "2 s of picture are missing.", 61.5))

    lines = shown(Finding("a.mp4", curve(64), notes=notes))

    assert lines[-2:] == ["  note  there is no sound.", "  note  2 s of picture are missing. (at 1:01.500)"]


def test_the_cost_is_in_times_real_time() -> None:
    finding = Finding("a.mp4", curve(64), gunshots([1.0]), stats=ScoreStats(2.0, 90.0, 64, ("CPUExecutionProvider",)))

    assert shown(finding)[-1] == "  1 event in 1:30  ·  2.0 s, 45.0x real time  ·  on CPU"


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
