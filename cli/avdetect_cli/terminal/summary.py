"""What a person sees of a source: its facts, its curves over time, its events."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from rich.console import Console
from rich.text import Text

from avdetect.errors import printable
from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo
from avdetect.timebase import Span
from avdetect_cli.output.plan import Finding
from avdetect_cli.terminal.text import show_duration, show_speed, show_time
from avdetect_cli.terminal.timeline import (
    ASCII_LEVELS,
    BLOCK_LEVELS,
    CARRIED,
    axis,
    can_encode,
    class_colour,
    class_label,
    column_peaks,
    columns_in_events,
    draw_levels,
    visible_span,
)

__all__ = ["Summary"]

_MAX_ROWS = 50
"""Of the table; with more events, only the most confident are listed."""
_MAX_COLUMNS = 160
"""Of the timeline: wider than this, the eye loses the row."""
_MIN_COLUMNS = 16


class Summary:
    """Draws findings on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ascii = not can_encode(f"{BLOCK_LEVELS}─┬·", console.encoding)

    @staticmethod
    def on_stdout() -> Summary:
        """Make one that draws on standard output."""
        return Summary(Console(file=sys.stdout))

    def show(self, finding: Finding) -> None:
        """One source."""
        for line in self._lines(finding):
            # Cut nothing and wrap nothing: a terminal does it better, and a pipe wants whole lines.
            self._console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def _lines(self, finding: Finding) -> Iterator[Text]:
        yield self._title(finding)
        curve = finding.curve
        if curve is None:
            return
        span = visible_span(curve.start_s, curve.end_s)
        if span is not None:
            yield Text()
            yield from self._timeline(curve, finding.events, span)
        yield Text()
        yield from self._table(finding.events, curve)
        for note in finding.notes:
            where = "" if note.time_s is None else f" (at {show_time(note.time_s)})"
            yield Text.assemble(("  note  ", "yellow"), f"{printable(note.message)}{where}")
        yield from self._cost(finding)

    def _title(self, finding: Finding) -> Text:
        name = "standard input" if finding.source == "-" else printable(finding.source)
        return Text.assemble((name, "bold"), (self._join(["", *_facts(finding.media)]), "bright_black"))

    def _join(self, parts: Sequence[str]) -> str:
        return ("  -  " if self._ascii else "  ·  ").join(parts)

    def _timeline(self, curve: ScoreCurve, events: Sequence[Event], span: Span) -> Iterator[Text]:
        shown = _rows(curve, events)
        label_width = max(len(class_label(curve.classes[row])) for row in shown)
        num_columns = max(min(self._console.width - label_width - 9, _MAX_COLUMNS), _MIN_COLUMNS)
        known = curve.present.any(axis=1)
        values = curve.scores.astype("float32", copy=True)
        values[~known] = math.nan
        for row in shown:
            name = curve.classes[row]
            own = [event for event in events if event.class_name == name]
            peaks = column_peaks(curve.start_s, curve.end_s, values[:, row], span, num_columns)
            bars = draw_levels(peaks, ASCII_LEVELS if self._ascii else BLOCK_LEVELS)
            line = Text(f"  {class_label(name):>{label_width}}  ")
            columns = zip(bars, columns_in_events(own, span, num_columns).tolist(), strict=True)
            for inside, stretch in groupby(columns, key=itemgetter(1)):
                line.append(
                    "".join(bar for bar, _ in stretch),
                    f"bold {class_colour(curve.classes, name)}" if inside else "bright_black",
                )
            if own:
                line.append(f" x{len(own)}")
            yield line
        clock = axis(span, num_columns, ascii_only=self._ascii)
        margin = " " * (label_width + 4)
        yield Text(margin + clock.marks, "bright_black")
        yield Text(margin + clock.labels, "bright_black")

    def _table(self, events: Sequence[Event], curve: ScoreCurve) -> Iterator[Text]:
        if not events:
            yield Text(f"  No events.{_strongest(curve)}")
            return
        listed = sorted(
            sorted(events, key=lambda event: -event.confidence)[:_MAX_ROWS], key=lambda event: event.start_s
        )
        times = [(show_time(event.start_s), show_time(event.end_s)) for event in listed]
        time_width = max(5, *(len(end) for _, end in times))
        label_width = max(5, *(len(class_label(event.class_name)) for event in listed))
        yield Text(
            f"  {'start':>{time_width}}  {'end':>{time_width}}  {'class':<{label_width}}  confidence  by",
            "bright_black",
        )
        for event, (start, end) in zip(listed, times, strict=True):
            yield Text.assemble(
                f"  {start:>{time_width}}  {end:>{time_width}}  ",
                (f"{class_label(event.class_name):<{label_width}}", class_colour(curve.classes, event.class_name)),
                f"  {event.confidence:>10.2f}  {CARRIED[event.modality]}",
            )
        if len(listed) < len(events):
            yield Text(
                f"  The {len(listed)} most confident of {len(events)} events; --format csv lists all.", "bright_black"
            )

    def _cost(self, finding: Finding) -> Iterator[Text]:
        if finding.stats is None:
            return
        stats = finding.stats
        count = (
            f"{len(finding.events)} event{'' if len(finding.events) == 1 else 's'} in {show_duration(stats.media_s)}"
        )
        speed = f"{stats.elapsed_s:.1f} s, {show_speed(stats.speed)} real time"
        yield Text()
        yield Text(f"  {self._join([count, speed, _device(stats.providers)])}", "bright_black")


def _facts(media: MediaInfo | None) -> Iterator[str]:
    if media is None:
        return
    if media.duration_s is not None:
        yield show_duration(media.duration_s)
    if media.video_codec is None:
        yield "no picture"
    else:
        rate = "" if media.frame_rate_hz is None else f" {media.frame_rate_hz:.4g} fps"
        yield f"{media.width}x{media.height} {media.video_codec}{rate}"
    if media.audio_codec is None:
        yield "no sound"
    else:
        channels = {1: "mono", 2: "stereo"}.get(media.audio_channels, f"{media.audio_channels} channels")
        yield f"{media.audio_codec} {media.audio_rate_hz / 1000:g} kHz {channels}"


def _rows(curve: ScoreCurve, events: Sequence[Event]) -> list[int]:
    """The classes worth a row: those with events, else the strongest one."""
    labels = {event.class_name for event in events}
    return [row for row, name in enumerate(curve.classes) if name in labels] or [int(curve.scores.max(axis=0).argmax())]


def _strongest(curve: ScoreCurve) -> str:
    if not curve.scores.size:
        return ""
    snippet, row = divmod(int(curve.scores.argmax()), len(curve.classes))
    middle_s = (curve.start_s[snippet] + curve.end_s[snippet]) / 2
    name, score = printable(curve.classes[row]), curve.scores[snippet, row]
    return f" The strongest was {name} with {score:.2f} at {show_time(middle_s)}."


def _device(providers: Sequence[str]) -> str:
    return f"on {providers[0].removesuffix('ExecutionProvider')}" if providers else ""
