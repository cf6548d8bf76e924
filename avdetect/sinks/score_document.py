"""The JSON document that says all of one source: what ``--json`` prints, one line per source.

``docs/schema/score-document.schema.json`` describes it. Within a major version of ``SCHEMA_VERSION`` fields are added,
never removed or changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from avdetect.events.event import Event
from avdetect.manifest import Manifest
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.sinks.formats import event_record, round_time

SCHEMA_VERSION = "1.0"


class Stats(Protocol):
    """What scoring cost, as far as the document shows it; ``runtime.result.ScoreStats`` is one."""

    @property
    def elapsed_s(self) -> float:
        """Wall-clock time."""
        ...

    @property
    def media_s(self) -> float:
        """Media time that was scored."""
        ...

    @property
    def num_snippets(self) -> int:
        """How many snippets that is."""
        ...

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that ran the graphs."""
        ...

    @property
    def speed(self) -> float:
        """In times real time."""
        ...


def source_document(
    source: str,
    *,
    avdetect_version: str,
    bundle: Manifest | None,
    media: MediaInfo | None = None,
    events: Sequence[Event] = (),
    notes: Sequence[MediaNote] = (),
    stats: Stats | None = None,
    error: str | None = None,
) -> dict[str, object]:
    """All of one source, as values that ``json`` takes.

    Args:
        source: as it was given.
        avdetect_version: of this package.
        bundle: the manifest of the bundle that scored it; ``None`` where it is not known.
        media: what the container says; ``None`` where it was not opened (saved scores, errors).
        events: in the order of their start.
        notes: what a user should know of the source.
        stats: what scoring cost; ``None`` where nothing was scored.
        error: the message, where the source failed.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "avdetect": avdetect_version,
        "bundle": None if bundle is None else {"name": bundle.name, "version": bundle.version},
        "source": source,
        "media": None if media is None else _media(media),
        "events": [event_record(event) for event in events],
        "notes": [_note(note) for note in notes],
        "stats": None if stats is None else _stats(stats),
        "error": error,
    }


def _media(media: MediaInfo) -> dict[str, object]:
    return {
        "format": media.format,
        "duration_s": None if media.duration_s is None else round_time(media.duration_s),
        "origin_s": round_time(media.origin_s),
        "video": None
        if media.video_codec is None
        else {
            "codec": media.video_codec,
            "width": media.width,
            "height": media.height,
            "frame_rate_hz": None if media.frame_rate_hz is None else round_time(media.frame_rate_hz),
            "pixel_format": media.pixel_format,
            "rotation": media.rotation,
        },
        "audio": None
        if media.audio_codec is None
        else {
            "codec": media.audio_codec,
            "rate_hz": media.audio_rate_hz,
            "channels": media.audio_channels,
            "tracks": list(media.audio_tracks),
        },
    }


def _note(note: MediaNote) -> dict[str, object]:
    return {
        "code": note.code,
        "message": note.message,
        "time_s": None if note.time_s is None else round_time(note.time_s),
    }


def _stats(stats: Stats) -> dict[str, object]:
    return {
        "elapsed_s": round_time(stats.elapsed_s),
        "media_s": round_time(stats.media_s),
        "speed": round(stats.speed, 2),
        "num_snippets": stats.num_snippets,
        "providers": list(stats.providers),
    }
