"""SubRip captions: one per event. Hand events over in the order of their start, as players expect."""

from __future__ import annotations

from avdetect.events.event import Event
from avdetect.sinks.base import EventFormat
from avdetect.sinks.captions import caption, cue_times

__all__ = ["SRT"]


def _render(number: int, source: str, event: Event) -> str:
    return f"{number}\n{cue_times(event, ',')}\n{caption(event)}\n\n"


SRT = EventFormat("srt", ".srt", holds_many_sources=False, header="", render=_render)
