"""What makes ``--help`` instant: commands and the modules that do their work are imported when they are first named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

__all__ = ["Entry", "LazyCommands", "on_first_use"]


def on_first_use(package: str, modules: list[str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package whose modules are imported when they are first named.

    Args:
        package: The package's ``__name__``.
        modules: The names of its modules.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the package's own
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return __getattr__


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is found, and what the list of commands says of it."""

    where: str
    """``module:function`` below ``avdetect_cli.commands``."""
    summary: str
    """The first sentence of the function's docstring; a test compares them."""


class LazyCommands(MutableMapping[str, Any]):
    """The commands of a group by name; each is imported and built when it is asked for.

    Args:
        entries: The commands, or groups of them that are built already, in the order in which help lists them.
        command_class: What the commands are built as.
    """

    def __init__(self, entries: Mapping[str, Entry | TyperGroup], command_class: type[TyperCommand]) -> None:
        self._entries = dict(entries)
        self._command_class = command_class

    def __getitem__(self, name: str) -> Any:
        entry = self._entries[name]
        return self._build(name, entry) if isinstance(entry, Entry) else entry

    def __setitem__(self, name: str, command: Any) -> None:
        self._entries[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def summaries(self) -> list[tuple[str, str]]:
        """Give the name and the summary of each command without importing one."""
        return [
            (name, entry.summary if isinstance(entry, Entry) else entry.get_short_help_str())
            for name, entry in self._entries.items()
        ]

    def _build(self, name: str, entry: Entry) -> Any:
        module_name, _, function_name = entry.where.partition(":")
        module = import_module(f"avdetect_cli.commands.{module_name}")
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        examples = getattr(module, "EXAMPLES", {}).get(function_name)
        alone.command(name, cls=self._command_class, epilog=examples)(getattr(module, function_name))
        command: Any = get_command(alone)
        command.no_args_is_help = any(parameter.required for parameter in command.params)
        return command
