"""How long to wait before the next attempt: doubling, with full jitter, so that a crowd spreads out."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Waits that grow with every failure.

    The ``n``-th is drawn evenly from ``[first_s / 2, first_s * 2**n)``, cut off at ``max_s``: full jitter, but never so
    little that a source which refuses at once is asked without pause.
    """

    def __init__(self, *, first_s: float, max_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._rng = rng or random.Random()
        self.num_failures = 0
        """In a row."""

    def next_s(self) -> float:
        """Another attempt has failed: how long to wait now."""
        self.num_failures += 1
        # The exponent is bounded because a float is.
        ceiling_s = min(self._max_s, self._first_s * 2.0 ** min(self.num_failures, 32))
        return self._rng.uniform(min(self._first_s / 2, ceiling_s), ceiling_s)

    def reset(self) -> None:
        """All is well again."""
        self.num_failures = 0
