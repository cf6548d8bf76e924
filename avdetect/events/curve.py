"""The scores of a whole source, as arrays: what is saved, drawn and decided upon again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.events.event import SnippetScore

__all__ = ["ScoreCurve", "anomaly_of"]


def anomaly_of(scores: NDArray[np.float32], anomaly: Sequence[bool]) -> NDArray[np.float32]:
    """Probability of any event, ``(..., classes)`` -> ``(...)``: the highest of the classes that count as anomaly.

    The classes of one moment are far from independent (a gunshot is also half an explosion), so the highest is
    closer to the truth than one minus the product of the complements.
    """
    chosen = np.flatnonzero(np.asarray(anomaly, dtype=bool))
    if chosen.size == 0:
        return np.zeros(scores.shape[:-1], np.float32)
    return np.asarray(scores[..., chosen].max(axis=-1), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurve:
    """Scores of ``N`` consecutive snippets and ``C`` classes."""

    source: str
    """The file or URL they are of."""
    classes: tuple[str, ...]
    anomaly_classes: tuple[bool, ...]
    """Which classes count towards ``anomaly``."""
    start_s: NDArray[np.float64]
    """``(N,)``, seconds from the grid's origin."""
    end_s: NDArray[np.float64]
    """``(N,)``."""
    scores: NDArray[np.float32]
    """Fused, ``(N, C)``."""
    audio_scores: NDArray[np.float32]
    """Heard alone, ``(N, C)``."""
    visual_scores: NDArray[np.float32]
    """Seen alone, ``(N, C)``."""
    present: NDArray[np.bool_]
    """Whether there was sound, and a picture, ``(N, 2)``."""

    @property
    def anomaly(self) -> NDArray[np.float32]:
        """Probability of any event, ``(N,)``."""
        return anomaly_of(self.scores, self.anomaly_classes)

    @property
    def audio(self) -> NDArray[np.float32]:
        """Probability of any event from what was heard alone, ``(N,)``."""
        return anomaly_of(self.audio_scores, self.anomaly_classes)

    @property
    def visual(self) -> NDArray[np.float32]:
        """Probability of any event from what was seen alone, ``(N,)``."""
        return anomaly_of(self.visual_scores, self.anomaly_classes)

    @staticmethod
    def collect(
        source: str, classes: Sequence[str], anomaly_classes: Sequence[bool], scores: Iterable[SnippetScore]
    ) -> ScoreCurve:
        """Gather snippet scores, in order, into arrays."""
        rows = list(scores)
        shape = (len(rows), len(classes))
        return ScoreCurve(
            source=source,
            classes=tuple(classes),
            anomaly_classes=tuple(anomaly_classes),
            start_s=np.array([row.span.start_s for row in rows], np.float64),
            end_s=np.array([row.span.end_s for row in rows], np.float64),
            scores=np.array([row.scores for row in rows], np.float32).reshape(shape),
            audio_scores=np.array([row.audio_scores for row in rows], np.float32).reshape(shape),
            visual_scores=np.array([row.visual_scores for row in rows], np.float32).reshape(shape),
            present=np.array([(row.audio_present, row.visual_present) for row in rows], np.bool_).reshape(-1, 2),
        )
