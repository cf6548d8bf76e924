"""``avdetect doctor``: what is installed, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import json as json_text
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from avdetect_cli.checks import Check, Status

__all__ = ["doctor"]


def doctor(json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """Say what is installed, what is missing, how to get it.

    Exit code 1 if something is broken that scoring needs.
    """
    from avdetect_cli.checks import run_checks

    if json:
        checks = list(run_checks())
        _print_json(checks)
    else:
        checks = list(_shown(run_checks()))
    broken = [check for check in checks if check.status == "broken"]
    if broken:
        typer.echo(f"avdetect: {', '.join(check.name for check in broken)}: broken, see above.", err=True)
        raise typer.Exit(1)


def _shown(checks: Iterable[Check]) -> Iterator[Check]:
    """Show each check as it comes: trying a GPU takes a while."""
    styles: dict[Status, tuple[str, str]] = {
        "ok": ("ok", typer.colors.GREEN),
        "missing": ("--", typer.colors.YELLOW),
        "broken": ("!!", typer.colors.RED),
    }
    group = None
    for check in checks:
        if check.group != group:
            typer.echo(("" if group is None else "\n") + check.group)
            group = check.group
        mark, colour = styles[check.status]
        typer.echo(f"  {_coloured(mark, colour)}  {check.name:<16} {check.found}")
        if check.fix and check.status != "ok":
            typer.echo(f"      {'':<16} -> {check.fix}")
        yield check


def _coloured(text: str, colour: str) -> str:
    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=colour)


def _print_json(checks: list[Check]) -> None:
    healthy = all(check.status != "broken" for check in checks)
    document = {"healthy": healthy, "checks": [dataclasses.asdict(check) for check in checks]}
    typer.echo(json_text.dumps(document, indent=2))
