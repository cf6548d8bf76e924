"""Scores of snippets, events, and the records of events in documents.

``Event``, ``FeedEvent`` and ``FeedGap`` are the values that the program works with. In documents the fields of an event
are those of ``EventRecord``, whoever writes it and wherever it is read again; live feeds, their store, sinks and page
add what only they know. The files in ``docs/schema`` are made of these models. Times are rounded to a millisecond and
probabilities to four places, which is what they mean. Documents of version 1 call the class ``label``: they are still
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, PlainSerializer

from avdetect.timebase import Span

Modality = Literal["audio", "visual", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class SnippetScore:
    """Probabilities of one snippet; all arrays are float32 ``(classes,)`` in the manifest's order."""

    index: int
    span: Span
    scores: NDArray[np.float32]
    """Fused."""
    audio_scores: NDArray[np.float32]
    """The scores by sound alone; zeros where there was no sound."""
    visual_scores: NDArray[np.float32]
    """The scores by picture alone; zeros where there was no picture."""
    audio_present: bool
    visual_present: bool


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of one class that the event decoder opened and closed."""

    class_name: str
    start_s: float
    end_s: float
    peak_s: float
    """Middle of the snippet with the highest smoothed score."""
    confidence: float
    """The highest smoothed score."""
    modality: Modality
    """The modality that carried the event."""


EventStage = Literal["opened", "updated", "closed"]


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """The state of an event of a live feed at one moment.

    An event is reported once as ``opened``, any number of times as ``updated``, and once as ``closed``.
    """

    id: str
    """A UUID: the same in every report of this event, and after a restart."""
    feed: str
    stage: EventStage
    event: Event
    """Seconds are media time of the feed: 0 where its first connection began, outages included."""
    started_at: datetime
    """UTC, like all that follow."""
    ended_at: datetime
    """The end so far, while the event is open."""
    peak_at: datetime
    interrupted: bool = False
    """True if the event was closed because the feed was lost: it may have gone on unseen."""
    clip: str | None = None
    """File name of the clip, once there is one."""
    thumbnail: str | None = None
    """File name of the picture at the peak, once there is one."""

    def as_dict(self) -> dict[str, Any]:
        """Its record, for JSON: what every sink, the store's readers and the web page get."""
        return FeedEventRecord.of_feed(self).as_dict()


@dataclass(frozen=True, slots=True)
class FeedGap:
    """A time in which a feed was not seen, or not all of it."""

    feed: str
    reason: str
    """Stable, for programs: ``connect``, ``refused``, ``stalled``, ``ended``, ``format-change``, ``dropped`` ..."""
    message: str
    """One sentence for people, without credentials."""
    start_s: float
    """Media time of the feed."""
    started_at: datetime
    ended_at: datetime | None = None
    """``None`` while it lasts."""
    num_dropped_snippets: int = 0
    """Number of snippets that were dropped because the machine fell behind."""

    def as_dict(self) -> dict[str, Any]:
        """Its record, for JSON."""
        return GapRecord.of(self).as_dict()


def round_time(seconds: float) -> float:
    """Round to a millisecond."""
    return round(float(seconds), 3)


def round_probability(probability: float) -> float:
    """Round to four decimals."""
    return round(float(probability), 4)


def _iso(at: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Seconds = Annotated[float, AfterValidator(round_time)]
Probability = Annotated[float, Field(ge=0.0, le=1.0), AfterValidator(round_probability)]
Instant = Annotated[datetime, PlainSerializer(_iso, when_used="json")]


class Record(BaseModel):
    """The base of all documents. They cannot be changed, and fields of later versions are ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        defer_build=True,
    )

    def as_dict(self) -> dict[str, Any]:
        """The fields as values that ``json`` takes."""
        return self.model_dump(mode="json")


class EventRecord(Record):
    """An event."""

    class_name: Annotated[
        str,
        Field(
            min_length=1,
            validation_alias=AliasChoices("class", "label"),
            serialization_alias="class",
            description="The class.",
        ),
    ]
    start_s: Annotated[Seconds, Field(description="Seconds from the earlier of the two streams' start.")]
    end_s: Seconds
    peak_s: Annotated[Seconds, Field(description="Middle of the snippet with the highest score.")]
    confidence: Annotated[Probability, Field(description="That score, smoothed.")]
    modality: Annotated[Modality, Field(description="What carried the event.")]

    @classmethod
    def of(cls, event: Event) -> Self:
        """The record of ``event``."""
        return cls(**_fields(event))

    def event(self) -> Event:
        """The event, as far as a document tells."""
        return Event(self.class_name, self.start_s, self.end_s, self.peak_s, self.confidence, self.modality)


class _Origin(Record):
    source: Annotated[str, Field(description="As it was given on the command line.")]


class SourceEventRecord(EventRecord, _Origin):
    """An event and the source that it is in: a line of ``avdetect score --format jsonl``, a row of ``--format csv``."""

    @staticmethod
    def in_source(source: str, event: Event) -> SourceEventRecord:
        """The record of ``event`` in ``source``."""
        return SourceEventRecord(source=source, **_fields(event))


class _Identity(Record):
    id: str
    feed: str
    stage: EventStage


class FeedEventRecord(EventRecord, _Identity):
    """An event of a live feed, as far as it is known at one moment."""

    start_s: Annotated[Seconds, Field(description="Media time of the feed, like the two that follow.")]
    end_s: Seconds
    peak_s: Seconds
    started_at: Annotated[Instant, Field(description="Wall-clock time, like the two that follow.")]
    ended_at: Instant
    peak_at: Instant
    interrupted: Annotated[bool, Field(description="Closed because the feed was lost: it may have gone on unseen.")]
    clip: Annotated[str | None, Field(description="File name, below /clips/.")]
    thumbnail: Annotated[str | None, Field(description="File name, below /thumbnails/.")]

    @classmethod
    def of_feed(cls, event: FeedEvent, **more: Any) -> Self:
        """The record of ``event``, with the fields that a subclass adds."""
        return cls(
            id=event.id,
            feed=event.feed,
            stage=event.stage,
            **_fields(event.event),
            started_at=event.started_at,
            ended_at=event.ended_at,
            peak_at=event.peak_at,
            interrupted=event.interrupted,
            clip=event.clip,
            thumbnail=event.thumbnail,
            **more,
        )


class GapRecord(Record):
    """A time in which a feed was not seen, or not all of it."""

    feed: str
    reason: str
    message: str
    start_s: Seconds
    started_at: Instant
    ended_at: Annotated[Instant | None, Field(description="Null while it lasts.")]
    dropped_snippets: int

    @staticmethod
    def of(gap: FeedGap) -> GapRecord:
        """The record of ``gap``."""
        return GapRecord(
            feed=gap.feed,
            reason=gap.reason,
            message=gap.message,
            start_s=gap.start_s,
            started_at=gap.started_at,
            ended_at=gap.ended_at,
            dropped_snippets=gap.num_dropped_snippets,
        )


def _fields(event: Event) -> dict[str, Any]:
    return {
        "class": event.class_name,
        "start_s": event.start_s,
        "end_s": event.end_s,
        "peak_s": event.peak_s,
        "confidence": event.confidence,
        "modality": event.modality,
    }
