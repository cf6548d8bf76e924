"""What makes of a detector's scores probabilities: per class, a temperature and a bias on the log-odds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import ClassSpec

__all__ = ["Rescaling", "log_odds"]

_MAX_LOG_ODDS = 30.0
"""Beyond what float32 probabilities below one can say (17)."""


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
