"""Exact media time.

Times are seconds on the media clock, kept as ``Fraction`` where they decide which snippet something belongs
to (a float would put the frame at exactly 0.64 s on either side of a border), and as ``float`` where they are
only reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open stretch ``[start_s, end_s)`` of media time."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not self.end_s >= self.start_s:
            raise ValueError(f"a span must not end before it starts, got [{self.start_s}, {self.end_s}).")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def as_seconds(value: float) -> Fraction:
    """The exact value a person meant by a decimal number of seconds: ``0.64`` is 16/25, not its nearest double."""
    return Fraction(str(value))


def snippet_span(index: int, hop: Fraction) -> Span:
    """Return the span of snippet ``index``: ``[index * hop, (index + 1) * hop)``."""
    return Span(float(index * hop), float((index + 1) * hop))
