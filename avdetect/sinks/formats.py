"""Every format events can be written in, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TextIO

from avdetect.errors import UsageError
from avdetect.sinks.base import EventFormat, EventSink, EventWriter
from avdetect.sinks.format_audacity import AUDACITY
from avdetect.sinks.format_csv import CSV
from avdetect.sinks.format_jsonl import JSONL
from avdetect.sinks.format_rttm import RTTM
from avdetect.sinks.format_srt import SRT
from avdetect.sinks.format_vtt import VTT

__all__ = ["FORMATS", "event_format", "open_sink", "paths_for"]

FORMATS: dict[str, EventFormat] = {form.name: form for form in (JSONL, CSV, SRT, VTT, AUDACITY, RTTM)}
"""In the order in which help lists them."""


def event_format(name: str) -> EventFormat:
    """The format called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"no format is called {name}; choose from {', '.join(FORMATS)}.")
    return FORMATS[name]


def open_sink(name: str, target: Path | TextIO) -> EventSink:
    """A sink that writes the format called ``name`` to a file or an open stream; enter it before writing.

    Raises:
        UsageError: there is no such format.
    """
    return EventWriter(event_format(name), target)


def paths_for(sources: Sequence[str], folder: Path, name: str) -> list[Path]:
    """A file in ``folder`` for each source, named after it; namesakes are numbered: ``a.srt``, ``a-2.srt``.

    For formats whose files hold the events of one source. Names are compared without case, as some file systems do.
    """
    suffix = event_format(name).suffix
    taken: set[str] = set()
    paths = []
    for source in sources:
        stem = "stdin" if source == "-" else PurePosixPath(source.replace("\\", "/")).stem or "source"
        candidate, number = stem, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.casefold())
        paths.append(folder / f"{candidate}{suffix}")
    return paths
