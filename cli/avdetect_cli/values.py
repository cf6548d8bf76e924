"""Values as people write them on a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from avdetect.errors import UsageError

__all__ = ["parse_classes", "parse_thresholds", "parse_time", "show_duration", "show_speed", "show_time"]

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")


def parse_time(text: str, option: str) -> float:
    """Seconds from ``90``, ``90.5``, ``1:30`` or ``1:02:03.5``.

    Raises:
        UsageError: it is none of these; the message names ``option``.
    """
    match = _TIME.fullmatch(text.strip())
    if (
        match is None
        or (match[2] is not None and float(match[3]) >= 60)
        or (match[1] is not None and int(match[2]) >= 60)
    ):
        raise UsageError(f"{option} {text!r} is not a time: write seconds (90.5) or [hh:]mm:ss (1:30.5).")
    hours, minutes, seconds = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def parse_thresholds(texts: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """The threshold of all classes, where given, and those of single ones, from ``0.6`` and ``gunshot=0.4``.

    Raises:
        UsageError: one is not a probability; of two for the same class, the later one counts.
    """
    shared: float | None = None
    per_class: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0.0 <= value <= 1.0 or (equals and not name.strip()):
            raise UsageError(f"--threshold {text!r}: write a number from 0 to 1, or CLASS=NUMBER.")
        if equals:
            per_class[name.strip()] = value
        else:
            shared = value
    return shared, per_class


def parse_classes(text: str | None) -> list[str] | None:
    """The names in ``a,b,c``; ``None`` stays ``None``.

    Raises:
        UsageError: there is no name in it.
    """
    if text is None:
        return None
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if not names:
        raise UsageError("--classes is empty: name at least one class, as in --classes gunshot,siren.")
    return names


def show_time(seconds: float) -> str:
    """``m:ss.mmm``, with hours before it where there are any."""
    total_ms = round(seconds * 1000)
    sign = "-" if total_ms < 0 else ""
    whole_s, ms = divmod(abs(total_ms), 1000)
    return f"{sign}{show_duration(whole_s)}.{ms:03}"


def show_duration(seconds: float) -> str:
    """``m:ss``, with hours before it where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_speed(factor: float) -> str:
    """``0.85x``, ``8.5x``, ``850x``: two or more digits that mean something."""
    return f"{factor:.2f}x" if factor < 1 else f"{factor:.1f}x" if factor < 100 else f"{factor:.0f}x"
