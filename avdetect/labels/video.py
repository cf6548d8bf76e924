"""A video and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avdetect.timebase import Span

__all__ = [
    "DEFAULT_FPS",
    "MODALITIES",
    "UNNAMED_EVENT",
    "FeatureFiles",
    "LabelledVideo",
    "Split",
    "TrueEvent",
    "TrueModality",
]

DEFAULT_FPS = 25.0
"""Of the frames that frame metrics count, where the manifest does not say."""
UNNAMED_EVENT = "event"
"""The class of a video that is said to hold events (label 1), but not which."""

Split = Literal["train", "val"]
TrueModality = Literal["audio", "visual", "audio-visual"]
MODALITIES: tuple[TrueModality, ...] = ("audio", "visual", "audio-visual")


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """Something that happens in a video."""

    span: Span
    label: str
    modality: TrueModality
    parts: tuple[tuple[str, Span], ...]
    """Which class lies where: one pair for most events; two for one that is seen as one class and heard as another."""


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
    """As the manifest has it."""
    where: str
    """The line that names it, for messages: ``train.csv, line 3``."""
    media: Path | FeatureFiles
    """A file to decode, or features."""
    classes: frozenset[str]
    """Of its events; empty where there is none, or none has a name."""
    positive: bool
    """Whether anything happens in it."""
    split: Split | None = None
    events: tuple[TrueEvent, ...] | None = None
    """In the order of their start; ``None`` where something happens and nobody knows when."""
    duration_s: float | None = None
    fps: float = DEFAULT_FPS

    @property
    def path(self) -> Path:
        """Of the video, or of its first features."""
        return self.media if isinstance(self.media, Path) else self.media.visual[0]

    @property
    def labels(self) -> frozenset[str]:
        """What to learn of it: its classes, or ``event`` where what happens has no name."""
        return self.classes if self.classes or not self.positive else frozenset({UNNAMED_EVENT})

    def spans_of(self, label: str) -> list[Span]:
        """Where ``label`` lies."""
        return [span for event in self.events or () for name, span in event.parts if name == label]
