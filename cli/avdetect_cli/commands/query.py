"""``avdetect query`` and ``index``: where in recordings something is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avdetect.errors import UsageError
from avdetect.files import kind_of
from avdetect_cli import tasks
from avdetect_cli.options import (
    OUTPUTS_PANEL,
    BundleOption,
    DeviceOption,
    JsonFileOption,
    OneJsonOption,
    QuietOption,
)
from avdetect_cli.output.targets import JSON_SUFFIXES, PAGE_SUFFIXES, check_outputs
from avdetect_cli.values import parse_time

__all__ = ["EXAMPLES", "index", "query"]

_MATCHES = "What counts as a place"
_MISSING_PATH = "name what to look through before the text: a file, a folder or an index."
_MISSING_TEXT = "say what to listen for after what to look through, as in: avdetect query {} 'glass breaks'."

EXAMPLES = {
    "query": """\b
Examples:
  avdetect query videos/ "glass breaks"
  avdetect query footage.index "a dog barks, then glass breaks" --order --within 1:00
  avdetect query videos/ "$(cat story.txt)" --report found.html
  avdetect query videos/ "a siren" --json | jq .places

Nothing found is an answer too (exit code 0), and says how near the best came.
""",
    "index": """\b
Examples:
  avdetect index videos/
  avdetect index cam1/ cam2/ -o footage.index --jobs 2
  avdetect query videos/ "glass breaks"
""",
}
"""What help ends with, by the name of the function."""


def query(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar='PATH... "TEXT"',
            help="Files, folders (to any depth) or indexes of them, and then what to listen for: a phrase, or a story "
            "of several joined by 'then', 'before', 'after', 'while', or in sentences of their own.",
        ),
    ],
    order: Annotated[
        bool, typer.Option("--order", help="Only where phrases come in the order told.", rich_help_panel=_MATCHES)
    ] = False,
    within: Annotated[
        str,
        typer.Option(
            "--within", metavar="TIME", help="How long a passage of a story may be.", rich_help_panel=_MATCHES
        ),
    ] = "5:00",
    at_least: Annotated[
        int | None,
        typer.Option(
            "--at-least",
            metavar="N",
            min=1,
            help="How many phrases of a story a passage must hold.",
            show_default="two thirds",
            rich_help_panel=_MATCHES,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            "-t",
            metavar="NUMBER",
            min=0,
            max=1,
            help="Relevance from which on a phrase is heard.",
            show_default="the bundle's",
            rich_help_panel=_MATCHES,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", "-n", metavar="N", min=1, help="How many places at most.", rich_help_panel=_MATCHES)
    ] = 20,
    json: OneJsonOption = False,
    output: JsonFileOption = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Write a page with player and relevance curves of the recordings that have places.",
            rich_help_panel=OUTPUTS_PANEL,
        ),
    ] = None,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="How many files to hear at once.")] = 1,
    quiet: QuietOption = False,
) -> None:
    """Find where in recordings something is heard, in your own words.

    What has no index (`avdetect index`) is heard first. Only sound is looked at.
    """
    *paths, text = arguments
    if not paths:
        raise UsageError(_MISSING_TEXT.format(text) if kind_of(Path(text)) is not None else _MISSING_PATH)
    check_outputs(
        {"-o": output, "--report": report}, read=paths, suffixes={"-o": JSON_SUFFIXES, "--report": PAGE_SUFFIXES}
    )
    within_s = parse_time(within, "--within")

    tasks.asking.answer(
        paths,
        text,
        in_order=order,
        within_s=within_s,
        at_least=at_least,
        threshold=threshold,
        top=top,
        json=json,
        output=output,
        report=report,
        bundle_path=bundle,
        device=device,
        jobs=jobs,
        quiet=quiet,
    )


def index(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Folders (to any depth), files, or patterns such as 'cam*/*.mkv'."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="INDEX", help="The index, a folder.", show_default="inside the folder, hidden"
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever the index holds.")] = False,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="How many files to hear at once.")] = 1,
    quiet: QuietOption = False,
) -> None:
    """Hear recordings once, so that `avdetect query` answers at once.

    Give the same command again to bring an index up to date: what has not changed is not heard again, what has gone is
    dropped. An interrupted run keeps what it has heard. An hour takes 3 MB.
    """
    tasks.hearing.update_index(paths, output, fresh=fresh, bundle_path=bundle, device=device, jobs=jobs, quiet=quiet)
