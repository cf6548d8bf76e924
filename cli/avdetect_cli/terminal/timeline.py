"""How classes, curves and the clock under them look on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import printable
from avdetect.events.event import Event, Modality
from avdetect.timebase import Span
from avdetect_cli.terminal.text import show_duration

__all__ = [
    "ASCII_LEVELS",
    "BLOCK_LEVELS",
    "CARRIED",
    "axis",
    "can_encode",
    "class_colour",
    "class_label",
    "column_peaks",
    "columns_in_events",
    "draw_levels",
    "visible_span",
]

BLOCK_LEVELS = "▁▂▃▄▅▆▇█"
"""Lowest probability to highest."""
ASCII_LEVELS = "_.:-=+*#"
"""For terminals that have no blocks."""

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""What may lie between two marks of the axis; above that, whole multiples of an hour."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Two lines under the curves."""

    marks: str
    labels: str


def column_peaks(
    start_s: NDArray[np.float64], end_s: NDArray[np.float64], values: NDArray[np.float32], span: Span, num_columns: int
) -> NDArray[np.float64]:
    """The highest value in each of ``span``'s equal columns, ``(num_columns,)``; NaN where there is none.

    Args:
        start_s: of the snippets, in order, ``(N,)``.
        end_s: of the snippets, ``(N,)``.
        values: one per snippet, ``(N,)``.
        span: what the columns cover.
        num_columns: how many.
    """
    borders = np.linspace(span.start_s, span.end_s, num_columns + 1)
    first = np.searchsorted(end_s, borders[:-1], side="right")
    last = np.searchsorted(start_s, borders[1:], side="left")
    return np.array(
        [values[a:b].max() if a < b else math.nan for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    )


def columns_in_events(events: Iterable[Event], span: Span, num_columns: int) -> NDArray[np.bool_]:
    """Which columns an event touches, ``(num_columns,)``; even the shortest one touches one."""
    touched = np.zeros(num_columns, np.bool_)
    per_second = num_columns / span.duration_s
    for event in events:
        first = min(max(int((event.start_s - span.start_s) * per_second), 0), num_columns - 1)
        last = max(math.ceil((event.end_s - span.start_s) * per_second - 1e-9), first + 1)
        touched[first:last] = True
    return touched


def draw_levels(peaks: NDArray[np.float64], levels: str) -> str:
    """One character per probability; a space for NaN."""
    steps = np.minimum(np.nan_to_num(peaks, nan=0.0) * len(levels), len(levels) - 1).astype(int)
    return "".join(
        " " if math.isnan(peak) else levels[step] for peak, step in zip(peaks.tolist(), steps.tolist(), strict=True)
    )


def axis(span: Span, num_columns: int, *, ascii_only: bool) -> Axis:
    """Marks at round times and the times under them, ``num_columns`` wide; labels never touch or stick out."""
    per_second = num_columns / span.duration_s
    widest = len(show_duration(span.end_s))
    step_s = _step_s((widest + 3) / per_second)
    marks = list(("-" if ascii_only else "─") * num_columns)
    labels = [" "] * num_columns
    for number in range(math.ceil(span.start_s / step_s), math.floor(span.end_s / step_s) + 1):
        column = int((number * step_s - span.start_s) * per_second)
        text = show_duration(number * step_s)
        if column + len(text) <= num_columns:
            marks[column] = "+" if ascii_only else "┬"
            labels[column : column + len(text)] = text
    return Axis("".join(marks), "".join(labels).rstrip())


def _step_s(at_least_s: float) -> int:
    """The smallest round step that leaves a label its room."""
    fitting = (step for step in _STEPS_S if step >= at_least_s)
    return next(fitting, 3600 * math.ceil(at_least_s / 3600))


def visible_span(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> Span | None:
    """From the first snippet to the last; ``None`` where there is nothing to draw."""
    return Span(float(start_s[0]), float(end_s[-1])) if len(start_s) else None


CARRIED: Mapping[Modality, str] = {"audio": "heard", "visual": "seen", "both": "both"}

_COLOURS = ("red", "yellow", "cyan", "magenta", "green", "blue")
"""Of the classes, in turn; the terminal's own shades, so that they fit its background."""

_MAX_LABEL = 32
"""Letters; a prompt may be called by a whole phrase."""


def class_colour(classes: Sequence[str], label: str) -> str:
    """The colour of a class, as rich calls it."""
    return _COLOURS[classes.index(label) % len(_COLOURS)]


def class_label(name: str) -> str:
    """Give a class's name as it stands in a column."""
    name = printable(name)
    return name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 3].rstrip()}..."


def can_encode(text: str, encoding: str) -> bool:
    """Whether a terminal of this encoding can show ``text``."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
