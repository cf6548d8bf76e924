"""Comma-separated values (RFC 4180 quoting, newlines as on Unix): one row per event under a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from avdetect.events.event import Event
from avdetect.sinks.base import EventFormat
from avdetect.sinks.records import event_record

__all__ = ["CSV"]

COLUMNS = ("source", "label", "start_s", "end_s", "peak_s", "confidence", "modality")


def _row(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _render(number: int, source: str, event: Event) -> str:
    return _row([source, *event_record(event).values()])


CSV = EventFormat("csv", ".csv", holds_many_sources=True, header=_row(COLUMNS), render=_render)
