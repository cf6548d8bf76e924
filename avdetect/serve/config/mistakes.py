"""Mistakes in a configuration: in which line they are, and what is wrong, in words of the file."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from avdetect.errors import UsageError
from avdetect.redaction import redacted
from avdetect.serve.config.settings import (
    ClipSettings,
    Config,
    FeedSettings,
    HourSettings,
    LogSettings,
    ModelSettings,
    StoreSettings,
    WebSettings,
)
from avdetect.serve.sinks.settings import CommandSettings, FileSettings, MqttSettings, WebhookSettings

__all__ = ["KeyLines", "KeyPath", "Mistake", "in_words", "misuse", "unknown"]

KeyPath = tuple[str | int, ...]
"""From the top down; numbers are places in arrays."""

_SINKS: Mapping[str, type[BaseModel]] = {
    "webhook": WebhookSettings,
    "mqtt": MqttSettings,
    "command": CommandSettings,
    "file": FileSettings,
}
_MODELS: tuple[type[BaseModel], ...] = (
    Config,
    ModelSettings,
    StoreSettings,
    ClipSettings,
    WebSettings,
    LogSettings,
    FeedSettings,
    HourSettings,
    *_SINKS.values(),
)
_SHOWN = {"literal_error", "greater_than", "greater_than_equal", "less_than", "less_than_equal"}
"""Errors whose input can be shown: no setting of these kinds is a secret."""
_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "path_type": "a text",
    "string_too_short": "a text that is not empty",
    "string_type": "a text",
    "tuple_type": "a list",
}
"""Errors in words of TOML."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that is wrong."""

    path: KeyPath
    """Of the setting, as far as there is one."""
    message: str
    """What follows the setting's name and a colon; a sentence."""
    line: int | None = None
    """Of the file, where the setting does not tell it."""


def misuse(path: Path, text: str, mistakes: Sequence[Mistake]) -> UsageError:
    """All ``mistakes`` in the file at ``path``, a line each, with the line of the file.

    Args:
        path: of the configuration.
        text: what it holds, as far as it is valid TOML; its lines count like those of the file.
        mistakes: in any order.
    """
    lines = KeyLines(text)
    located = [(mistake.line or lines.line(mistake.path), mistake) for mistake in mistakes]
    rows = [
        f"{path}:{line}: {_dotted(mistake.path)}{redacted(mistake.message)}"
        for line, mistake in sorted(located, key=itemgetter(0))
    ]
    return UsageError(*(rows if len(rows) == 1 else [f"{path} has {len(rows)} mistakes:", *rows]))


def _dotted(path: KeyPath) -> str:
    """The setting's name and a colon; nothing where it has none."""
    names = [part for part in path if isinstance(part, str)]
    return f"{'.'.join(names)}: " if names else ""


def in_words(details: ErrorDetails) -> Mistake:
    """A mistake that pydantic has found."""
    path = tuple(_without_tags(details["loc"]))
    kind, message = details["type"], details["msg"].removeprefix("Value error, ")
    match kind:
        case "extra_forbidden":
            known = sorted({name for model in _MODELS for name in model.model_fields})
            return Mistake(path, "is no setting" + (_meant(str(path[-1]), known) or "."))
        case "missing":
            return Mistake(path, "is missing.")
        case "union_tag_invalid" | "union_tag_not_found":
            return Mistake((*path, "type"), f"must be one of {', '.join(_SINKS)}.")
        case _ if kind in _KINDS:
            return Mistake(path, f"must be {_KINDS[kind]}.")
    message = message.replace("Input should be", "must be").replace("'", '"')
    got = f", got {json.dumps(details['input'], default=str)}" if kind in _SHOWN else ""
    return Mistake(path, f"{message}{got}.")


def _without_tags(path: Sequence[str | int]) -> Iterator[str | int]:
    """Pydantic puts the type of a sink into the path of its mistakes, and a mark behind the names of keys."""
    for place, part in enumerate(path):
        if not (part == "[key]" or (path[0] == "sinks" and place == 2 and part in _SINKS)):
            yield part


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """What to say of a name that does not exist."""
    choice = f"; there are {', '.join(known)}." if known else "; there is none."
    return f"no {kind} is called {json.dumps(name)}{_meant(name, known) or choice}"


def _meant(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {json.dumps(near[0])}?" if near else ""


class KeyLines:
    """The lines, counted from 1, of the keys of a document.

    A statement is the fewest lines after the last one that the parser takes: a comment, ``key = value`` or ``[table]``.

    Args:
        text: valid TOML.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[KeyPath, int] = {}
        rows = text.split("\n")
        table: KeyPath = ()
        begin = 0
        for end in range(1, len(rows) + 1):
            statement = "\n".join(rows[begin:end])
            try:
                parsed = tomllib.loads(statement)
            except tomllib.TOMLDecodeError:
                continue
            paths = list(_paths(parsed))
            is_table = statement.lstrip().startswith("[")
            for path in paths:
                self._lines.setdefault(path if is_table else table + path, begin + 1)
            if is_table:
                table = max(paths, key=len)
            begin = end

    def line(self, path: KeyPath) -> int:
        """Of the key, or of the nearest one above it that is there; 1 where none is."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 1


def _paths(value: Any, above: KeyPath = ()) -> Iterator[KeyPath]:
    """Those of all keys and elements."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*above, key)
        yield from _paths(inner, (*above, key))
