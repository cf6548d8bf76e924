"""What really happens in the videos: a JSONL file with one video a line.

    {"video": "a.mp4", "duration": 28.4, "fps": 25, "classes": ["siren"],
     "events": [{"start": 12.0, "end": 17.1, "class": "siren", "modality": "audio"}]}

``video`` is relative to the file. ``classes`` (or ``label``: 1, 0 or a class) says what is in the video, ``events``
says when. A positive video without ``events`` has labels only, and counts for no metric that needs times. Other keys
are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from avdetect.errors import UsageError
from avdetect.timebase import Span

__all__ = ["DEFAULT_FPS", "MODALITIES", "TrueEvent", "TrueModality", "VideoTruth", "check_videos_exist", "read_truth"]

DEFAULT_FPS = 25.0
"""Of the frames that frame metrics count, where the manifest does not say."""
TrueModality = Literal["audio", "visual", "audio-visual"]
MODALITIES: tuple[TrueModality, ...] = ("audio", "visual", "audio-visual")
_NORMAL = ("", "normal")
_MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """Something that happens in a video."""

    span: Span
    label: str
    modality: TrueModality
    parts: tuple[tuple[str, Span], ...]
    """Which class lies where: one pair for most events; two for one that is seen as one class and heard as another."""


@dataclass(frozen=True, slots=True)
class VideoTruth:
    """All that is known of one video."""

    name: str
    """As in the manifest."""
    path: Path
    duration_s: float | None
    fps: float
    classes: frozenset[str]
    positive: bool
    """Whether anything happens in it."""
    events: tuple[TrueEvent, ...] | None
    """In the order of their start; ``None`` where something happens and nobody knows when."""

    def spans_of(self, label: str) -> list[Span]:
        """Where ``label`` lies."""
        return [span for event in self.events or () for name, span in event.parts if name == label]


class _EventRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    start: Annotated[float, Field(ge=0)]
    end: float
    label: Annotated[str, Field(alias="class", min_length=1)]
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
        parts: tuple[tuple[str, Span], ...] = ((self.label, span),)
        if self.audio_class and self.audio and self.visual:
            parts = ((self.label, Span(*self.visual)), (self.audio_class, Span(*self.audio)))
        return TrueEvent(span, self.label, self.modality, parts)


class _VideoRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    video: Annotated[str, Field(min_length=1)]
    duration: Annotated[float, Field(gt=0)] | None = None
    fps: Annotated[float, Field(gt=0)] = DEFAULT_FPS
    label: int | str | None = None
    classes: list[str] | None = None
    events: list[_EventRow] | None = None

    @model_validator(mode="after")
    def _check(self) -> _VideoRow:
        if self.label is None and self.classes is None and self.events is None:
            raise ValueError("there is neither label nor classes nor events")
        if isinstance(self.label, int) and self.label not in (0, 1):
            raise ValueError(f"label must be 0, 1 or a class, got {self.label}")
        if self.label == 0 and (self.classes or self.events):
            raise ValueError("label is 0, but there are classes or events")
        if self.label == 1 and self.events is not None and not self.events:
            raise ValueError("label is 1, but events is empty")
        return self

    def truth(self, folder: Path) -> VideoTruth:
        events = None if self.events is None else [row.event() for row in self.events]
        classes = set(self.classes or ()) | {name for event in events or () for name, _ in event.parts}
        if isinstance(self.label, str) and self.label.lower() not in _NORMAL:
            classes.add(self.label)
        positive = bool(classes) or bool(events) or self.label == 1
        known = sorted(events or (), key=lambda event: event.span)
        return VideoTruth(
            name=self.video,
            path=folder / self.video,
            duration_s=self.duration,
            fps=self.fps,
            classes=frozenset(classes),
            positive=positive,
            events=tuple(known) if known or not positive else None,
        )


def read_truth(path: Path) -> list[VideoTruth]:
    """The videos of a manifest, in its order.

    Raises:
        UsageError: it cannot be read, or lines of it are wrong; the message names them all.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason or error}.") from error
    videos: dict[str, VideoTruth] = {}
    problems: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            video = _VideoRow.model_validate(json.loads(line)).truth(path.parent)
        except ValidationError as error:
            problems[number] = _first_problem(error)
        except json.JSONDecodeError as error:
            problems[number] = f"not JSON ({error.msg} at column {error.colno})"
        else:
            if video.name in videos:
                problems[number] = f"{video.name} is there twice"
            videos[video.name] = video
    if problems:
        raise UsageError(_listed(path, problems))
    if not videos:
        raise UsageError(f"{path} names no video.")
    return list(videos.values())


def check_videos_exist(path: Path, videos: Sequence[VideoTruth]) -> None:
    """Notice before an hour of scoring that a file is missing.

    Raises:
        UsageError: files of the manifest at ``path`` are missing; the message names them.
    """
    missing = [video.name for video in videos if not video.path.is_file()]
    if missing:
        shown = ", ".join(missing[:_MAX_PROBLEMS])
        more = f" and {len(missing) - _MAX_PROBLEMS} more" if len(missing) > _MAX_PROBLEMS else ""
        raise UsageError(f"{path}: {len(missing)} of {len(videos)} videos are not there: {shown}{more}.")


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"


def _listed(path: Path, problems: Mapping[int, str]) -> str:
    shown = [f"line {number}: {text}" for number, text in list(problems.items())[:_MAX_PROBLEMS]]
    more = [f"and {len(problems) - _MAX_PROBLEMS} more lines"] if len(problems) > _MAX_PROBLEMS else []
    return f"{path} cannot be used: {'; '.join([*shown, *more])}."
