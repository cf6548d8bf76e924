"""An Audacity label track: start, end and label between tabs, in seconds."""

from __future__ import annotations

from avdetect.events.event import Event
from avdetect.sinks.base import EventFormat
from avdetect.sinks.captions import caption

__all__ = ["AUDACITY"]


def _render(number: int, source: str, event: Event) -> str:
    return f"{event.start_s:.6f}\t{event.end_s:.6f}\t{caption(event)}\n"


AUDACITY = EventFormat("audacity", ".txt", holds_many_sources=False, header="", render=_render)
