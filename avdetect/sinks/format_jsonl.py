"""JSON lines: one object per event."""

from __future__ import annotations

from avdetect.events.event import Event
from avdetect.sinks.base import EventFormat
from avdetect.sinks.records import event_record, json_line

__all__ = ["JSONL"]


def _render(number: int, source: str, event: Event) -> str:
    return json_line({"source": source, **event_record(event)})


JSONL = EventFormat("jsonl", ".jsonl", holds_many_sources=True, header="", render=_render)
