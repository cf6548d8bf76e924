"""Mistakes in a configuration: where they are, and what is wrong, in words of the file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from avdetect.errors import UsageError
from avdetect.serve.config import (
    ClipSettings,
    Config,
    FeedSettings,
    LogSettings,
    ModelSettings,
    StoreSettings,
    WebSettings,
)
from avdetect.serve.sinks.settings import CommandSettings, FileSettings, MqttSettings, WebhookSettings
from avdetect.serve.toml_lines import KeyLines, KeyPath

__all__ = ["Mistake", "in_words", "misuse", "unknown"]

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


def misuse(path: Path, text: str, mistakes: Sequence[Mistake]) -> UsageError:
    """All ``mistakes`` in the file at ``path``, which holds ``text``: a line each, with the line of the file."""
    lines = KeyLines(text)
    located = sorted(((lines.line(mistake.path), mistake) for mistake in mistakes), key=itemgetter(0))
    rows = [f"{path}:{line}: {_dotted(mistake.path)}: {mistake.message}" for line, mistake in located]
    return UsageError("\n".join(rows if len(rows) == 1 else [f"{path} has {len(rows)} mistakes:", *rows]))


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str))


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
