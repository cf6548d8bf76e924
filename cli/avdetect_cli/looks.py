"""How classes and what carried an event look, wherever they are shown to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avdetect.events.event import Modality

__all__ = ["CARRIED", "can_encode", "class_colour"]

CARRIED: Mapping[Modality, str] = {"audio": "heard", "visual": "seen", "both": "both"}

_COLOURS = ("red", "yellow", "cyan", "magenta", "green", "blue")
"""Of the classes, in turn; the terminal's own shades, so that they fit its background."""


def class_colour(classes: Sequence[str], label: str) -> str:
    """The colour of a class, as rich calls it."""
    return _COLOURS[classes.index(label) % len(_COLOURS)]


def can_encode(text: str, encoding: str) -> bool:
    """Whether a terminal of this encoding can show ``text``."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
