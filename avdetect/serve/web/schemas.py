"""What the interface answers and takes, for its OpenAPI description and its checks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from avdetect.events.event import FeedEventRecord
from avdetect.serve.feeds.listener import FeedState
from avdetect.serve.store import Answer

__all__ = [
    "AnswerIn",
    "ClassOut",
    "EventOut",
    "EventPage",
    "FeedOut",
    "ScoreOut",
    "ScoresOut",
    "SessionOut",
    "SignIn",
    "ThresholdIn",
]


class ClassOut(BaseModel):
    """A class of events."""

    name: str
    title: str = Field(description="For people.")


class FeedOut(BaseModel):
    """A feed at one moment."""

    feed: str
    state: FeedState
    since: datetime = Field(description="Of the state.")
    message: str = Field(description="One sentence; empty where all is well.")
    reconnects: int = Field(description="How often media came back after they were gone.")
    dropped_snippets: int = Field(description="Not scored because the machine fell behind.")
    classes: list[ClassOut] = Field(description="Those whose events are wanted.")
    last_score_at: float | None = Field(description="Unix time in seconds.")
    latency_s: float | None = Field(description="From the last packet that the last score needed to that score.")
    level_dbfs: float | None = Field(description="How loud it is, at most 0; null without sound.")
    has_audio: bool | None = Field(description="Whether the source has sound; null before it was reached.")
    has_video: bool | None = Field(description="Whether it has pictures.")
    thresholds: dict[str, float] = Field(description="From which probability on a class is an event now.")
    chosen_thresholds: list[str] = Field(description="Classes whose threshold was set here or through a broker.")


class ScoreOut(BaseModel):
    """The scores of one snippet, one for each class."""

    sequence: int = Field(description="Grows from row to row.")
    at: float = Field(description="Unix time of the snippet's end, in seconds.")
    fused: list[float]
    audio: list[float] | None = Field(description="Null where nothing was heard.")
    visual: list[float] | None = Field(description="Null where nothing was seen.")
    level_dbfs: float | None = Field(description="How loud it was; null where nothing was heard.")


class ScoresOut(BaseModel):
    """The scores of the last minutes."""

    classes: list[ClassOut] = Field(description="The columns of every row.")
    scores: list[ScoreOut] = Field(description="Oldest first.")


class EventOut(FeedEventRecord):
    """An event, as far as it is known."""

    answer: Answer | None = Field(description="What a person said of it.")
    clip_failure: str | None = Field(description="Why there is no clip, where one was wanted.")


class EventPage(BaseModel):
    """Events, newest first."""

    events: list[EventOut]
    next_cursor: str | None = Field(description="Ask with it for the older ones; null where there are none.")


class AnswerIn(BaseModel):
    """What a person says of an event."""

    model_config = ConfigDict(extra="forbid")

    answer: Answer | None = Field(description="Null takes an answer back.")


class ThresholdIn(BaseModel):
    """From which probability on a class is an event."""

    model_config = ConfigDict(extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(description="Null for what the configuration says.")


class SessionOut(BaseModel):
    """Whether the caller may pass."""

    token_needed: bool
    signed_in: bool = Field(description="Also true where no token is needed.")


class SignIn(BaseModel):
    """What the sign-in form sends."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=1024)
