"""From the text of a configuration to what is set in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avdetect.errors import UsageError
from avdetect.serve.config import Config
from avdetect.serve.config_mistakes import in_words, misuse

__all__ = ["STANDARD", "ConfigFile", "read_config"]

_PATHS = {"bundle", "folder", "file", "path", "ca", "cert", "key"}
"""Settings that are paths, beside all that end in ``_file``."""
STANDARD = "-"
"""Stands for standard input or output, where a path is expected."""
_SYNTAX = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration as it is written."""

    path: Path
    text: str
    document: Mapping[str, Any]
    config: Config

    @property
    def folder(self) -> Path:
        """From which paths count."""
        return self.path.resolve().parent


def read_config(path: Path) -> ConfigFile:
    """Read the configuration at ``path``, but look neither for credentials nor at the bundle.

    Paths in it count from its folder.

    Raises:
        UsageError: all that can be seen to be wrong so, a line each.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_syntax(path, str(error))) from error
    folder = path.resolve().parent
    try:
        config = Config.model_validate({**_with_paths(document, folder), **_words(document)})
    except ValidationError as error:
        found = [in_words(details) for details in error.errors(include_url=False)]
        raise misuse(path, text, found) from None  # its message would show what was set
    # The default counts from there as well.
    store = config.store.model_copy(update={"folder": folder / config.store.folder})
    return ConfigFile(path, text, document, config.model_copy(update={"store": store}))


def _words(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part in which names are the user's own, whatever settings they look like."""
    return {"prompts": document["prompts"]} if "prompts" in document else {}


def _with_paths(value: Any, folder: Path, key: str = "") -> Any:
    """``value`` with every path in it made absolute."""
    if isinstance(value, Mapping):
        return {inner: _with_paths(entry, folder, inner) for inner, entry in value.items()}
    if key == "argv" and isinstance(value, list) and value and "/" in str(value[0]):  # else it is looked for in PATH
        return [str(folder / str(value[0])), *value[1:]]
    is_path = key in _PATHS or key.endswith("_file")
    return str(folder / value) if is_path and isinstance(value, str) and value not in ("", STANDARD) else value


def _syntax(path: Path, message: str) -> str:
    match = _SYNTAX.fullmatch(message)
    return f"{path}:{match['line']}: {match['what']}." if match else f"{path}: {message}."
