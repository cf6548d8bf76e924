"""What the detector says of a snippet, and what the event decoder makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avdetect.timebase import Span

__all__ = ["Event", "Modality", "SnippetScore"]

Modality = Literal["audio", "visual", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class SnippetScore:
    """Probabilities of one snippet; all arrays are float32 ``(classes,)`` in the manifest's order."""

    index: int
    span: Span
    scores: NDArray[np.float32]
    """Fused."""
    audio_scores: NDArray[np.float32]
    """From what was heard alone; zeros where there was no sound."""
    visual_scores: NDArray[np.float32]
    """From what was seen alone; zeros where there was no picture."""
    audio_present: bool
    visual_present: bool


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of one class that the event decoder opened and closed."""

    label: str
    start_s: float
    end_s: float
    peak_s: float
    """Middle of the snippet with the highest smoothed score."""
    confidence: float
    """That score."""
    modality: Modality
    """What carried it."""
