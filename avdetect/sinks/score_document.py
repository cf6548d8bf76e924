"""The JSON document that says all of one source: what ``--json`` prints, one line per source; and reading events back.

``docs/schema/score-document.schema.json`` is made of these models. Within a major version of ``SCHEMA_VERSION`` fields
are added, never removed or changed. Version 2 calls the class of an event ``class``, where version 1 said ``label``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from avdetect.errors import DataError
from avdetect.events.event import Event, EventRecord, Record, Seconds, SourceEventRecord
from avdetect.manifest import Manifest
from avdetect.media.packets import MediaInfo, MediaNote

SCHEMA_VERSION = "2.0"

NotNegative = Annotated[Seconds, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


def _round_speed(speed: float) -> float:
    return round(speed, 2)


class BundleRecord(Record):
    """A bundle."""

    name: str
    version: str


class VideoRecord(Record):
    """The picture of a source."""

    codec: str
    width: Annotated[Count, Field(description="As shown, after rotation.")]
    height: Count
    frame_rate_hz: NotNegative | None
    pixel_format: str
    rotation: Annotated[int, Field(description="Degrees clockwise.")]


class AudioRecord(Record):
    """The sound of a source."""

    codec: str
    rate_hz: Count
    channels: Count
    tracks: Annotated[tuple[str, ...], Field(description="One description per track.")]


class MediaRecord(Record):
    """The container's description of a source."""

    format: str
    duration_s: Annotated[NotNegative | None, Field(description="Null where unknown.")]
    origin_s: Annotated[Seconds, Field(description="Where time 0 lies on the container's own clock.")]
    video: Annotated[VideoRecord | None, Field(description="Null where there is no picture.")]
    audio: Annotated[AudioRecord | None, Field(description="Null where there is no sound.")]

    @staticmethod
    def of(media: MediaInfo) -> MediaRecord:
        """The record of ``media``."""
        video = media.video_codec and VideoRecord(
            codec=media.video_codec,
            width=media.width,
            height=media.height,
            frame_rate_hz=media.frame_rate_hz,
            pixel_format=media.pixel_format,
            rotation=media.rotation,
        )
        audio = media.audio_codec and AudioRecord(
            codec=media.audio_codec,
            rate_hz=media.audio_rate_hz,
            channels=media.audio_channels,
            tracks=media.audio_tracks,
        )
        return MediaRecord(
            format=media.format,
            duration_s=media.duration_s,
            origin_s=media.origin_s,
            video=video or None,
            audio=audio or None,
        )


class NoteRecord(Record):
    """Something that a user should know of a source."""

    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people.")]
    time_s: Annotated[Seconds | None, Field(description="Where, where known.")]


class StatsRecord(Record):
    """The cost of scoring."""

    elapsed_s: Annotated[NotNegative, Field(description="Wall-clock time.")]
    media_s: Annotated[NotNegative, Field(description="Media time that was scored.")]
    speed: Annotated[float, Field(ge=0, description="Times real time."), AfterValidator(_round_speed)]
    num_snippets: Count
    providers: Annotated[tuple[str, ...], Field(description="Execution providers, the preferred one first.")]


class ScoreDocument(Record):
    """All that avdetect says of one source: a line of ``avdetect score --json``.

    Times are seconds from the earlier of the two streams' start, rounded to milliseconds. Minor versions add fields;
    ignore those you do not know.
    """

    schema_version: Annotated[str, Field(pattern=r"^2\.[0-9]+$", description="major.minor of this format.")]
    avdetect: Annotated[str, Field(description="Version of the program.")]
    bundle: Annotated[
        BundleRecord | None,
        Field(description="The model that scored the source; null where it is not known (saved scores)."),
    ]
    source: Annotated[str, Field(description="As it was given on the command line.")]
    media: Annotated[
        MediaRecord | None,
        Field(description="What the container says; null where the source was not opened or could not be."),
    ]
    events: Annotated[tuple[EventRecord, ...], Field(description="In the order of their start.")]
    notes: Annotated[
        tuple[NoteRecord, ...],
        Field(description="What a user should know of the source: damage, gaps, missing streams."),
    ]
    stats: Annotated[StatsRecord | None, Field(description="What scoring cost; null where nothing was scored.")]
    error: Annotated[str | None, Field(description="Why the source failed; null where it did not.")]


def source_document(
    source: str,
    *,
    avdetect_version: str,
    bundle: Manifest | None,
    media: MediaInfo | None = None,
    events: Sequence[Event] = (),
    notes: Sequence[MediaNote] = (),
    stats: object = None,
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
        stats: what scoring cost, with the fields of ``StatsRecord``; ``None`` where nothing was scored.
        error: the message, where the source failed.
    """
    return ScoreDocument(
        schema_version=SCHEMA_VERSION,
        avdetect=avdetect_version,
        bundle=None if bundle is None else BundleRecord(name=bundle.name, version=bundle.version),
        source=source,
        media=None if media is None else MediaRecord.of(media),
        events=tuple(EventRecord.of(event) for event in events),
        notes=tuple(NoteRecord(code=note.code, message=note.message, time_s=note.time_s) for note in notes),
        stats=None if stats is None else StatsRecord.model_validate(stats, from_attributes=True),
        error=error,
    ).as_dict()


def read_events(path: Path | str) -> list[tuple[str, Event]]:
    """The events in a document that ``avdetect score`` wrote, of this version or an older one, each with its source.

    Args:
        path: what ``--format jsonl`` or ``--json`` printed, or ``--format csv`` (a file that ends in ``.csv``).

    Raises:
        DataError: it cannot be read, or a line holds no event.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file)) if path.suffix.lower() == ".csv" else [*_json_rows(file)]
            return [(record.source, record.event()) for row in rows for record in _records(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} does not hold events as `avdetect score` writes them: {_reason(error)}.") from error


def _json_rows(lines: Iterator[str]) -> Iterator[Any]:
    return (json.loads(line) for line in lines if line.strip())


def _records(row: Any) -> Iterator[SourceEventRecord]:
    """The events of a line: a single one, or those of a whole source."""
    if "events" in row:
        for event in row["events"]:
            yield SourceEventRecord.model_validate({"source": row["source"], **event})
    else:
        yield SourceEventRecord.model_validate(row)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
