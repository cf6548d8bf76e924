"""How classes and what carried an event look, wherever they are shown to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avdetect.events.event import Modality

__all__ = ["CARRIED", "can_encode", "class_colour", "class_label"]

CARRIED: Mapping[Modality, str] = {"audio": "heard", "visual": "seen", "both": "both"}

_COLOURS = ("red", "yellow", "cyan", "magenta", "green", "blue")
"""Of the classes, in turn; the terminal's own shades, so that they fit its background."""

_MAX_LABEL = 32
"""Letters; a prompt may be called by a whole phrase."""


def class_colour(classes: Sequence[str], label: str) -> str:
    """The colour of a class, as rich calls it."""
    return _COLOURS[classes.index(label) % len(_COLOURS)]


def class_label(name: str) -> str:
    """A class's name as it stands in a column."""
    return name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 3].rstrip()}..."


def can_encode(text: str, encoding: str) -> bool:
    """Whether a terminal of this encoding can show ``text``."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
