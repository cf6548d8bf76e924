"""From the text of a configuration to what is set in it; one mistake does not hide the others."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avdetect.errors import DataError, UsageError
from avdetect.files import read_file
from avdetect.serve.config.mistakes import KeyPath, Mistake, in_words, misuse
from avdetect.serve.config.settings import Config

__all__ = ["STANDARD", "ConfigFile", "examine_config", "read_config"]

_PATHS = {"bundle", "folder", "file", "path", "ca", "cert", "key"}
"""Settings that are paths, beside all that end in ``_file``."""
STANDARD = "-"
"""Stands for standard input or output, where a path is expected."""
_SYNTAX = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column \d+\)")
_MAX_ROUNDS = 50
"""Of leaving out what is wrong and looking at the rest."""
_FOLLOWS = {"missing", "too_short"}
"""Errors that leaving something out can bring about."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration as it is written."""

    path: Path
    text: str
    """Without what is no TOML; its lines are those of the file."""
    document: Mapping[str, Any]
    config: Config
    """Without what is in ``mistakes``."""
    mistakes: tuple[Mistake, ...] = ()
    """All that can be seen to be wrong without looking at anything else."""

    @property
    def folder(self) -> Path:
        """From which paths count."""
        return Path(os.path.realpath(self.path)).parent


def read_config(path: Path) -> ConfigFile:
    """Read the configuration at ``path``, but look neither for credentials nor at the bundle.

    Paths in it count from its folder.

    Raises:
        UsageError: all that can be seen to be wrong so, a line each.
    """
    file = examine_config(path)
    if file.mistakes:
        raise misuse(path, file.text, file.mistakes)
    return file


def examine_config(path: Path) -> ConfigFile:
    """As ``read_config``, but what is wrong is left out and told apart.

    Raises:
        DataError: the file cannot be read.
        UsageError: so much is wrong that nothing is left.
    """
    try:
        text = read_file(path).decode()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8.") from error
    mistakes: list[Mistake] = []
    try:
        text, incomplete = _repaired(text, mistakes)
        document = tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{path}: is nested too deeply.") from error
    folder = Path(os.path.realpath(path)).parent
    config = _validated({**_with_paths(document, folder), **_words(document)}, incomplete, mistakes)
    if config is None:
        raise misuse(path, text, mistakes)
    # The default counts from there as well.
    store = config.store.model_copy(update={"folder": folder / config.store.folder})
    return ConfigFile(path, text, document, config.model_copy(update={"store": store}), tuple(mistakes))


def _repaired(text: str, mistakes: list[Mistake]) -> tuple[str, set[KeyPath]]:
    """``text`` with empty lines for those that are no TOML, and the tables that lack something by that."""
    rows = text.split("\n")
    incomplete: set[KeyPath] = set()
    for _ in range(_MAX_ROUNDS):
        try:
            tomllib.loads("\n".join(rows))
        except tomllib.TOMLDecodeError as error:
            match = _SYNTAX.fullmatch(str(error))
            at = int(match["line"]) - 1 if match else _unfinished(rows)
            mistakes.append(Mistake((), f"{match['what'] if match else str(error)}.", at + 1))
            incomplete |= _blank(rows, at)
        else:
            return "\n".join(rows), incomplete
    return "", incomplete


def _unfinished(rows: list[str]) -> int:
    """Where the statement begins that the end of the file cuts short."""
    begin = 0
    for end in range(1, len(rows) + 1):
        try:
            tomllib.loads("\n".join(rows[begin:end]))
        except tomllib.TOMLDecodeError:
            continue
        begin = end
    return min(begin, len(rows) - 1)


def _blank(rows: list[str], at: int) -> set[KeyPath]:
    """Empty a line; of a table's head the whole table, as what follows would be taken for another one's."""
    if rows[at].lstrip().startswith("["):
        end = next((row for row in range(at + 1, len(rows)) if rows[row].startswith("[")), len(rows))
        rows[at:end] = [""] * (end - at)
        return set()
    rows[at] = ""
    head = next((row.strip() for row in reversed(rows[:at]) if row.lstrip().startswith("[")), "")
    try:
        table = tomllib.loads(head)
    except tomllib.TOMLDecodeError:
        return {()}
    path: KeyPath = ()
    while isinstance(table, dict) and table:
        name, table = next(iter(table.items()))
        path = (*path, name)
    return {path}


def _validated(document: Mapping[str, Any], incomplete: set[KeyPath], mistakes: list[Mistake]) -> Config | None:
    """What is set, without what is wrong; ``None`` where nothing can be made of it."""
    rest: dict[str, Any] = deepcopy(dict(document))
    for attempt in range(_MAX_ROUNDS):
        try:
            return Config.model_validate(rest)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                mistake = in_words(details)
                follows = details["type"] in _FOLLOWS and (attempt > 0 or mistake.path[:-1] in incomplete)
                if not (follows or mistake in mistakes):
                    mistakes.append(mistake)
                if details["type"] == "missing" and mistake.path[0] == "feeds" and mistake.path[-1] == "url":
                    rest["feeds"][mistake.path[1]] |= {"url": STANDARD, "enabled": False}  # the rest can be looked at
                else:
                    _leave_out(rest, mistake.path)
            if not rest.get("feeds"):
                rest["feeds"] = {"none": {"url": STANDARD, "enabled": False}}  # so that the others can be looked at
    return None


def _leave_out(document: dict[str, Any], path: KeyPath) -> None:
    """Delete what ``path`` leads to; where it does not lead all the way, the last that is there."""
    above: Any = None
    node: Any = document
    for part in path:
        if not isinstance(node, dict) or part not in node:
            break
        above, key, node = node, part, node[part]
    if above is not None:
        del above[key]


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
