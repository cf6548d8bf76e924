"""How much of a source was lost, gathered while it is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from avdetect.media.packets import MediaNote

__all__ = ["Damage", "truncation_note"]

TRUNCATION_TOLERANCE_S = 1.0
"""Declared durations are rounded, and count streams that are not read here."""
TRUNCATION_TOLERANCE_SHARE = 0.01


@dataclass(slots=True)
class Damage:
    """Counts of what could not be read or decoded."""

    num_undecoded: Counter[str] = field(default_factory=Counter)
    """Packets that the decoder refused, by kind of stream."""
    num_patched: Counter[str] = field(default_factory=Counter)
    """Pictures or stretches of sound that the decoder had to patch up, by kind of stream."""
    lost_s: Fraction = Fraction(0)
    """Length of the packets that the decoder refused."""
    num_read_errors: int = 0
    """Places where the container itself was unreadable."""

    def count_undecoded(self, kind: str, length_s: Fraction) -> None:
        """The decoder of a ``kind`` of stream refused a packet of this length."""
        self.num_undecoded[kind] += 1
        self.lost_s += length_s

    @property
    def total(self) -> int:
        """Number of places that were damaged."""
        return self.num_undecoded.total() + self.num_patched.total() + self.num_read_errors

    def note(self) -> MediaNote | None:
        """All of it in one sentence; nothing if nothing was lost."""
        parts = [f"{n} {kind} packets could not be decoded" for kind, n in sorted(self.num_undecoded.items())]
        parts += [f"{n} {kind} frames were decoded with errors" for kind, n in sorted(self.num_patched.items()) if n]
        if self.num_read_errors:
            parts.append(f"the container was unreadable in {self.num_read_errors} places")
        if not parts:
            return None
        return MediaNote(
            "decode-errors", f"The file is damaged: {', '.join(parts)}; about {float(self.lost_s):.2f} s are lost."
        )


def truncation_note(declared_s: float | None, reached_s: float) -> MediaNote | None:
    """What is missing at the end, if the container declared clearly more than could be read."""
    if declared_s is None:
        return None
    missing_s = declared_s - reached_s
    if missing_s <= TRUNCATION_TOLERANCE_S + TRUNCATION_TOLERANCE_SHARE * declared_s:
        return None
    return MediaNote(
        "truncated",
        f"The file ends {missing_s:.1f} s before the {declared_s:.1f} s that it declares.",
        time_s=reached_s,
    )
