"""Values as people write them on a command line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from avdetect.errors import UsageError

__all__ = ["check_installed", "parse_classes", "parse_settings", "parse_thresholds", "parse_time"]

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


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Nested values from ``recipe.epochs=30``; each is a TOML value, or text where it is none.

    Raises:
        UsageError: one is not KEY=VALUE, or a key is a section already.
    """
    nested: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set {setting!r}: write KEY=VALUE, as in --set recipe.epochs=30.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = None if text == "none" else text
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {setting!r}: {section} was set to a value before.")
        place[last] = value
    return nested


def check_installed(*packages: str) -> None:
    """Say what to install when a package of training is not there.

    Raises:
        UsageError: one is missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"this needs {', '.join(missing)}: pip install 'avdetect[train]'.")
