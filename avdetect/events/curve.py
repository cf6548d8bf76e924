"""The scores of a whole source, as arrays, and how scores become probabilities."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.events.event import SnippetScore
from avdetect.manifest import ClassSpec


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
    """For each class, whether it counts towards ``anomaly``."""
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
    """For each snippet, whether it has sound and whether it has a picture, ``(N, 2)``."""

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


class CurveBuilder:
    """Gathers snippet scores, in order, at 16 bytes a snippet and 12 for each class."""

    def __init__(self, source: str, classes: Sequence[str], anomaly_classes: Sequence[bool]) -> None:
        self._source = source
        self._classes = tuple(classes)
        self._anomaly_classes = tuple(anomaly_classes)
        self._spans = array("d")
        self._scores = array("f")
        self._present = bytearray()

    def __len__(self) -> int:
        """Number of snippets so far."""
        return len(self._present) // 2

    def add(self, row: SnippetScore) -> None:
        """Take the next snippet."""
        self._spans.extend((row.span.start_s, row.span.end_s))
        for scores in (row.scores, row.audio_scores, row.visual_scores):
            self._scores.frombytes(np.asarray(scores, np.float32).tobytes())
        self._present += bytes((row.audio_present, row.visual_present))

    def build(self) -> ScoreCurve:
        """The curve of what was added."""
        spans = np.array(self._spans, np.float64).reshape(-1, 2)
        scores = np.array(self._scores, np.float32).reshape(-1, 3, len(self._classes))
        return ScoreCurve(
            source=self._source,
            classes=self._classes,
            anomaly_classes=self._anomaly_classes,
            start_s=spans[:, 0],
            end_s=spans[:, 1],
            scores=scores[:, 0],
            audio_scores=scores[:, 1],
            visual_scores=scores[:, 2],
            present=np.array(self._present, np.bool_).reshape(-1, 2),
        )


_MAX_LOG_ODDS = 30.0
"""A limit beyond the log-odds of any float32 probability below one (17)."""


def log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """``log(p / (1 - p))``, finite for 0 and 1 as well."""
    exact = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.log(exact) - np.log1p(-exact)
    return np.asarray(np.clip(odds, -_MAX_LOG_ODDS, _MAX_LOG_ODDS))


@dataclass(frozen=True, slots=True, eq=False)
class Rescaling:
    """``log-odds * slope + bias``, by class. 0 and 1 stay what they are: 0 says that nothing was heard or seen."""

    slope: NDArray[np.float64]
    """``(C,)``, above zero."""
    bias: NDArray[np.float64]
    """``(C,)``."""

    @staticmethod
    def of(classes: Sequence[ClassSpec]) -> Rescaling:
        """The one that a manifest asks for ``classes``."""
        return Rescaling(
            slope=np.array([1.0 / spec.temperature for spec in classes]),
            bias=np.array([spec.bias for spec in classes]),
        )

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rescale ``(..., C)`` probabilities; the very same array where there is nothing to change."""
        changed = np.flatnonzero((self.slope != 1.0) | (self.bias != 0.0))
        if not changed.size:
            return scores
        rescaled = scores.copy()
        given = scores[..., changed]
        odds = np.exp(-(log_odds(given) * self.slope[changed] + self.bias[changed]))
        rescaled[..., changed] = np.where((given > 0.0) & (given < 1.0), 1.0 / (1.0 + odds), given)
        return rescaled
