"""Rich Transcription Time Marked: ten fields between spaces, as diarization tools read it.

The class stands where they have the speaker's name. A field has no white space: in sources and classes it
becomes ``_``.
"""

from __future__ import annotations

import re

from avdetect.events.event import Event
from avdetect.sinks.base import EventFormat

__all__ = ["RTTM"]

CHANNEL = 1
ABSENT = "<NA>"


def _field(text: str) -> str:
    return re.sub(r"\s", "_", text) or ABSENT


def _render(number: int, source: str, event: Event) -> str:
    fields = (
        "SPEAKER",
        _field(source),
        CHANNEL,
        f"{event.start_s:.3f}",
        f"{event.end_s - event.start_s:.3f}",
        ABSENT,
        ABSENT,
        _field(event.label),
        f"{event.confidence:.4f}",
        ABSENT,
    )
    return " ".join(map(str, fields)) + "\n"


RTTM = EventFormat("rttm", ".rttm", holds_many_sources=True, header="", render=_render)
