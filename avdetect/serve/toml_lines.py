"""In which line of a TOML file a key stands, which the standard library's parser does not tell."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["KeyLines", "KeyPath"]

KeyPath = tuple[str | int, ...]
"""From the top down; numbers are places in arrays."""


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
