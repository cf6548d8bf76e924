"""WebVTT captions: one cue per event. The standard asks for cues in the order of their start."""

from __future__ import annotations

import html

from avdetect.events.event import Event
from avdetect.sinks.base import EventFormat
from avdetect.sinks.captions import caption, cue_times

__all__ = ["VTT"]


def _render(number: int, source: str, event: Event) -> str:
    # The escaping keeps "-->" out of the text as well, which would be taken for a cue's times.
    return f"{cue_times(event, '.')}\n{html.escape(caption(event), quote=False)}\n\n"


VTT = EventFormat("vtt", ".vtt", holds_many_sources=False, header="WEBVTT\n\n", render=_render)
