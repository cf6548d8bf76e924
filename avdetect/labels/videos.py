"""A video and what is known of it, and the line of a list that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from avdetect.timebase import Span

DEFAULT_FPS = 25.0
"""Frame rate for frame metrics, where the list does not give one."""
UNNAMED_EVENT = "event"
"""The class of a video that is said to hold events (label 1), but not which."""

Split = Literal["train", "val"]
TrueModality = Literal["audio", "visual", "audio-visual"]
MODALITIES: tuple[TrueModality, ...] = ("audio", "visual", "audio-visual")


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """Something that happens in a video."""

    span: Span
    class_name: str
    modality: TrueModality
    parts: tuple[tuple[str, Span], ...]
    """Classes and their spans: one pair for most events; two for one that is seen as one class and heard as another."""


@dataclass(frozen=True, slots=True)
class FeatureFiles:
    """Features that were extracted elsewhere, ``.npy`` ``(snippets, D)``."""

    visual: tuple[Path, ...]
    """One for each crop."""
    audio: Path


@dataclass(frozen=True, slots=True)
class LabelledVideo:
    """One video: a bag."""

    name: str
    """The name in the list."""
    where: str
    """The line that names it, for messages: ``train.csv, line 3``."""
    media: Path | FeatureFiles
    """A file to decode, or features."""
    classes: frozenset[str]
    """The classes of its events; empty where there is no event, or none has a name."""
    positive: bool
    """True if anything happens in it."""
    split: Split | None = None
    events: tuple[TrueEvent, ...] | None = None
    """The events in the order of their start; ``None`` where something happens and nobody knows when."""
    duration_s: float | None = None
    fps: float = DEFAULT_FPS

    @property
    def path(self) -> Path:
        """The path of the video, or of its first features."""
        return self.media if isinstance(self.media, Path) else self.media.visual[0]

    @property
    def labels(self) -> frozenset[str]:
        """The classes to learn: its own, or ``event`` where what happens has no name."""
        return self.classes if self.classes or not self.positive else frozenset({UNNAMED_EVENT})

    def spans_of(self, label: str) -> list[Span]:
        """Return the spans of the class ``label``."""
        return [span for event in self.events or () for name, span in event.parts if name == label]


_NORMAL = frozenset({"", "0", "normal", "none", "background"})
"""Labels of a video in which nothing happens."""
_UNNAMED = "1"
"""The label of one in which something does."""
_CLASS_KEYS = AliasChoices("class", "label")
"""The key of a video's class, and what lists of older versions call it."""
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}


def classes_in(value: Any) -> Any:
    """``a|b``, ``["a", "b"]`` or None -> names, those that stand for no event left out.

    Raises:
        ValueError: it is something else.
    """
    parts = re.split(r"[|;]", value) if isinstance(value, str) else [] if value is None else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be class names: a list, or text with | between them")
    return [part.strip() for part in parts if part.strip().lower() not in _NORMAL]


def _as_name(value: Any) -> Any:
    return str(value).strip() if isinstance(value, str | int) else value


def _as_split(value: Any) -> Any:
    text = value.strip().lower() if isinstance(value, str) else value
    return _SPLITS.get(text, text) if text else None


class _EventRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    start: Annotated[float, Field(ge=0)]
    end: float
    class_name: Annotated[str, Field(validation_alias=_CLASS_KEYS, min_length=1)]
    modality: TrueModality = "audio-visual"
    audio_class: str | None = None
    audio: tuple[float, float] | None = None
    visual: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _check(self) -> _EventRow:
        for span in ((self.start, self.end), self.audio, self.visual):
            if span is not None and not span[1] > span[0]:
                raise ValueError(f"an event must end after it starts, got {span[0]:g} to {span[1]:g}")
        return self

    def event(self) -> TrueEvent:
        span = Span(self.start, self.end)
        parts: tuple[tuple[str, Span], ...] = ((self.class_name, span),)
        if self.audio_class and self.audio and self.visual:
            parts = ((self.class_name, Span(*self.visual)), (self.audio_class, Span(*self.audio)))
        return TrueEvent(span, self.class_name, self.modality, parts)


class VideoRow(BaseModel):
    """A line about a video. Other keys may be there: lists carry much that is of no use here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    video: Annotated[str, Field(min_length=1)]
    class_name: Annotated[str | None, BeforeValidator(_as_name), Field(validation_alias=_CLASS_KEYS)] = None
    classes: Annotated[list[str] | None, BeforeValidator(classes_in)] = None
    split: Annotated[Split | None, BeforeValidator(_as_split)] = None
    events: list[_EventRow] | None = None
    duration: Annotated[float, Field(gt=0)] | None = None
    fps: Annotated[float, Field(gt=0)] = DEFAULT_FPS

    @model_validator(mode="before")
    @classmethod
    def _tell_none_from_missing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        if not {"class", "label", "classes", "events"} & data.keys():
            raise ValueError("there is neither class nor classes nor events")
        return {key: value for key, value in data.items() if key != "classes" or value is not None}

    @model_validator(mode="after")
    def _check(self) -> VideoRow:
        said = {name: positive for name, positive in self._claims().items() if positive is not None}
        if len(set(said.values())) > 1:
            values = [f"{name} {self.class_name!r}" if name == "class" else name for name in said]
            raise ValueError(f"{' and '.join(values)} contradict each other: does anything happen in it?")
        return self

    def _claims(self) -> dict[str, bool | None]:
        """Return what each key says about whether anything happens; ``None`` for a key that is not there."""
        return {
            "class": None if self.class_name is None else self.class_name.lower() not in _NORMAL,
            "classes": None if self.classes is None else bool(self.classes),
            "events": None if self.events is None else bool(self.events),
        }

    def video_at(self, where: str, folder: Path) -> LabelledVideo:
        """The video of the line at ``where``, its path relative to ``folder``."""
        events = None if self.events is None else sorted((row.event() for row in self.events), key=lambda one: one.span)
        classes = set(self.classes or ()) | {name for event in events or () for name, _ in event.parts}
        if self.class_name != _UNNAMED:
            classes.update(classes_in(self.class_name))
        positive = any(self._claims().values())
        return LabelledVideo(
            name=self.video,
            where=where,
            media=folder / self.video,
            classes=frozenset(classes),
            positive=positive,
            split=self.split,
            events=tuple(events) if events else None if positive else (),
            duration_s=self.duration,
            fps=self.fps,
        )
