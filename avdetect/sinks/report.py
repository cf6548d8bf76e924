"""The HTML report: one page that holds everything but the video, and opens from a folder without a server.

The page is ``assets/report/page.html`` with its style, its scripts and the scores written into it. Scores travel as one
byte each (255 is certain), in base64: ten hours of eight classes are under 2 MB, and a step of 0.004 is finer than
a curve can show. The video stays where it is and is played by its path relative to the page.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event, EventRecord
from avdetect.files import replacing
from avdetect.media.packets import MediaInfo, MediaNote

_SCRIPTS = ("live/canvas.js", "report/series.js", "report/plot.js", "report/report.js")
"""The first is a module of the live page's; here all are one plain script, which exports nothing."""
_EXPORT = re.compile(r"^export (?=function)", re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class ReportEntry:
    """One source in the report."""

    curve: ScoreCurve
    events: Sequence[Event]
    """The events, in the order of their start."""
    media: MediaInfo
    notes: Sequence[MediaNote]
    video: Path | None
    """The file to play; ``None`` where there is none (a pipe, a URL), which leaves the curves and the events."""
    on_thresholds: Mapping[str, float]
    """Per class whose events are wanted, the probability at which one opens; drawn as a line. The curve of all events
    is the highest of these classes."""
    count: int | None = None
    """Number of events to show, where some of them are parts of others; ``None`` for all."""


def write_report(
    path: Path | str,
    entries: Sequence[ReportEntry],
    *,
    title: str = "Events in video with sound",
    found: Literal["event", "place"] = "event",
) -> None:
    """Write one self-contained page for all ``entries``.

    Args:
        path: the page.
        entries: one for each source.
        title: of the page.
        found: what its events are called: those of a detector, or the places of a question, which are heard alone.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    path = Path(path)
    assets = resources.files("avdetect") / "assets"
    page = Template((assets / "report" / "page.html").read_text("utf-8")).substitute(
        title=html.escape(title),
        found=found,
        Found=found.capitalize(),
        measure={"event": "Confidence", "place": "Relevance"}[found],
        css=(assets / "report" / "report.css").read_text("utf-8"),
        script=_EXPORT.sub("", "\n".join((assets / name).read_text("utf-8") for name in _SCRIPTS)),
        entries="\n".join(_as_script(_document(entry, path.parent)) for entry in entries),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8", newline="\n")


def _as_script(document: Mapping[str, object]) -> str:
    """JSON inside an element that only ``</script`` or ``<!--`` could end or confuse: no ``<`` is left in it."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" class="entry">{text}</script>'


def _document(entry: ReportEntry, folder: Path) -> dict[str, object]:
    """Return the data of one source for the page's scripts (``series.js`` decodes ``scores`` and ``present``)."""
    curve, media = entry.curve, entry.media
    end_s = float(curve.end_s[-1]) if len(curve.end_s) else 0.0
    return {
        "name": _name(entry),
        "url": None if entry.video is None else _relative_url(entry.video, folder),
        "kind": "audio" if media.video_codec is None else "video",
        "facts": _facts(media),
        "duration_s": max(end_s, media.duration_s or 0.0),
        "start_s": float(curve.start_s[0]) if len(curve.start_s) else 0.0,
        "hop_s": _hop_s(curve),
        "classes": [{"name": name, "on": entry.on_thresholds.get(name)} for name in curve.classes],
        "scores": _base64(_packed_scores(curve)),
        "present": _base64(curve.present.astype(np.uint8) @ np.array([1, 2], np.uint8)),
        "events": [EventRecord.of(event).as_dict() for event in entry.events],
        "count": len(entry.events) if entry.count is None else entry.count,
        "notes": [asdict(note) for note in entry.notes],
    }


def _packed_scores(curve: ScoreCurve) -> NDArray[np.uint8]:
    """Fused, heard and seen scores in 255ths, ``(3, classes, snippets)``: each curve of the page is a run of bytes."""
    heads = np.stack([curve.scores, curve.audio_scores, curve.visual_scores]).transpose(0, 2, 1)
    return np.rint(np.clip(heads, 0.0, 1.0) * 255).astype(np.uint8)


def _base64(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _hop_s(curve: ScoreCurve) -> float:
    """Mean distance of snippets; they are consecutive. The one snippet of a short file may be cut at its end."""
    starts = curve.start_s
    if len(starts) > 1:
        return float(starts[-1] - starts[0]) / (len(starts) - 1)
    return float(curve.end_s[0] - starts[0]) if len(starts) else 1.0


def _name(entry: ReportEntry) -> str:
    """The source's name for people; bytes that are no text become replacement characters."""
    name = entry.curve.source if entry.video is None else entry.video.name
    return os.fsencode(name).decode("utf-8", "replace")


def _relative_url(video: Path, folder: Path) -> str:
    """``video`` as seen from ``folder``, percent-encoded; absolute where no relative path exists (another drive)."""
    try:
        relative = os.path.relpath(video, folder)
    except ValueError:
        return video.absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _facts(media: MediaInfo) -> str:
    """Format, picture and sound in one line."""
    facts = [media.format]
    if media.video_codec:
        facts.append(f"{media.video_codec} {media.width}x{media.height}")
    if media.video_codec and media.frame_rate_hz:
        facts.append(f"{media.frame_rate_hz:.4g} fps")
    if media.audio_codec:
        facts.append(f"{media.audio_codec} {media.audio_rate_hz / 1000:g} kHz")
    if not media.audio_codec:
        facts.append("no sound")
    return " · ".join(fact for fact in facts if fact)
