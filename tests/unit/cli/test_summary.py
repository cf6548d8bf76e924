from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.runtime.pipeline import ScoreStats
from avdetect_cli.finding import Finding
from avdetect_cli.summary import Summary

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
