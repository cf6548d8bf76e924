"""Which wall-clock time a live source's media time stands for, and whether its clocks keep in step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

__all__ = ["WallClock"]

_WINDOW_S = 30.0
"""Longer than a segment of HLS, whose packets come in all at once."""
_MIN_PACKETS = 50
"""Of a stream in a window; fewer may all have been held up."""


@dataclass(slots=True)
class _Seen:
    """What came of a stream within a window."""

    offset_s: float = inf
    num_packets: int = 0


class WallClock:
    """Learns from when packets come in; the one that came the soonest after its media time knows best.

    Packets are held up on their way now and then, but never come before what they show has happened.
    """

    def __init__(self) -> None:
        self.offset_s = inf
        """Monotonic time minus media time, as far as known."""
        self.drift_s = 0.0
        """By how much the wall clock has since run away from the media's."""
        self.skew_s = 0.0
        """By how much one stream has since run away from another."""
        self._fixed_s: float | None = None
        self._window_end_s: float | None = None
        self._window: dict[int, _Seen] = {}
        self._first: dict[int, float] = {}  # the offset of each stream in the first window in which it came

    def see(self, stream: int, media_s: float, at_s: float) -> None:
        """A packet of ``stream`` whose content ends at ``media_s`` came in at ``at_s`` by the monotonic clock."""
        offset_s = at_s - media_s
        if self._fixed_s is None:
            self.offset_s = min(self.offset_s, offset_s)
            return
        if self._window_end_s is None:
            self._window_end_s = at_s + _WINDOW_S
        elif at_s >= self._window_end_s:
            self._compare(self._window, self._fixed_s)
            self._window = {}
            self._window_end_s = at_s + _WINDOW_S
        seen = self._window.setdefault(stream, _Seen())
        seen.offset_s = min(seen.offset_s, offset_s)
        seen.num_packets += 1

    def fix(self) -> float:
        """Hold on to the offset learnt so far, and give it; from here on only the drift is looked at."""
        self._fixed_s = self.offset_s
        return self.offset_s

    def _compare(self, window: Mapping[int, _Seen], fixed_s: float) -> None:
        """Compare a window that is over with what was before."""
        self.drift_s = min(seen.offset_s for seen in window.values()) - fixed_s
        known = {stream: seen.offset_s for stream, seen in window.items() if seen.num_packets >= _MIN_PACKETS}
        runs_s = [offset_s - self._first.setdefault(stream, offset_s) for stream, offset_s in known.items()]
        self.skew_s = max(runs_s) - min(runs_s) if runs_s else 0.0
