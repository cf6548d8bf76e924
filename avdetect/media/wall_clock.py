"""Which wall-clock time a live source's media time stands for."""

from __future__ import annotations

from math import inf

__all__ = ["WallClock"]

_DRIFT_WINDOW_S = 30.0
"""Longer than a segment of HLS, whose packets come in all at once."""


class WallClock:
    """Learns from when packets come in; the one that came the soonest after its media time knows best.

    Packets are held up on their way now and then, but never come before what they show has happened.
    """

    def __init__(self) -> None:
        self.offset_s = inf
        """Monotonic time minus media time, as far as known."""
        self._fixed_s: float | None = None
        self._window_end_s = 0.0
        self._window_offset_s = inf
        self.drift_s = 0.0
        """By how much the wall clock has since run away from the media's."""

    def see(self, media_s: float, at_s: float) -> None:
        """A packet whose content ends at ``media_s`` came in at ``at_s`` by the monotonic clock."""
        offset_s = at_s - media_s
        if self._fixed_s is None:
            self.offset_s = min(self.offset_s, offset_s)
            return
        self._window_offset_s = min(self._window_offset_s, offset_s)
        if at_s >= self._window_end_s:
            if self._window_end_s > 0:
                self.drift_s = self._window_offset_s - self._fixed_s
            self._window_end_s = at_s + _DRIFT_WINDOW_S
            self._window_offset_s = offset_s

    def fix(self) -> float:
        """Hold on to the offset learnt so far, and give it; from here on only the drift is looked at."""
        self._fixed_s = self.offset_s
        return self.offset_s
