"""``avdetect query``: where in recordings something is heard."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect.errors import OutputError, UsageError
from avdetect_cli.options import (
    OUTPUTS_PANEL,
    BundleOption,
    DeviceOption,
    JsonFileOption,
    OneJsonOption,
    QuietOption,
)
from avdetect_cli.values import parse_time

if TYPE_CHECKING:
    from avdetect_cli.asking import Asked

__all__ = ["query"]

_MATCHES = "What counts as a place"
_MISSING_PATH = "name what to look through before the text: a file, a folder or an index."
_MISSING_TEXT = "say what to listen for after what to look through, as in: avdetect query {} 'glass breaks'."


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
    started = time.monotonic()
    *paths, text = arguments
    if not paths:
        raise UsageError(_MISSING_TEXT.format(text) if Path(text).exists() else _MISSING_PATH)
    for option, target, suffixes in (("-o", output, (".json",)), ("--report", report, (".html", ".htm"))):
        _check_target(target, option, suffixes)
    within_s = parse_time(within, "--within")

    from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files
    from avdetect.runtime.sound_text import open_text_model

    with (
        open_bundle_files(default_bundle_path() if bundle is None else bundle) as files,
        ThreadPoolExecutor(1) as opener,  # onnxruntime opens the graphs while Python imports the rest
    ):
        loading = opener.submit(open_text_model, files, for_few=True)
        from avdetect_cli.asking import Wishes, ask_paths

        wishes = Wishes(in_order=order, within_s=within_s, at_least=at_least, threshold=threshold, top=top)
        asked = ask_paths(paths, text, wishes, files, loading, device=device, jobs=jobs, quiet=quiet)
    if json or output is not None:
        _write_document(asked, text, output)
    if report is not None:
        from avdetect_cli.answer_page import write_answer_page

        write_answer_page(report, asked, text)
    if not json and not quiet:
        from avdetect_cli.answers import answer_lines

        for line in answer_lines(asked, elapsed_s=time.monotonic() - started):
            typer.echo(line)
    for error in asked.errors:
        typer.echo(f"avdetect: {error}", err=True)
    if asked.errors:
        raise typer.Exit(1)


def _check_target(target: Path | None, option: str, suffixes: tuple[str, ...]) -> None:
    """Notice before the work that a result could not be written.

    Raises:
        UsageError: the name does not end as it should.
        OutputError: there is no such folder, or something else than a file is there.
    """
    if target is None:
        return
    if target.suffix.lower() not in suffixes:
        raise UsageError(f"{option} {target}: give it a name that ends in {suffixes[0]}.")
    if target.exists() and not target.is_file():
        raise OutputError(f"{option} {target}: it is there already and is not a file.")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"{option} {target}: there is no folder {target.parent}.")


def _write_document(asked: Asked, text: str, target: Path | None) -> None:
    from importlib.metadata import version

    from avdetect.search.answer import answer_document
    from avdetect.sinks.atomic import replacing
    from avdetect.sinks.formats import json_line

    document = json_line(
        answer_document(
            text,
            asked.story,
            asked.options,
            asked.answer,
            avdetect_version=version("avdetect"),
            bundle=asked.bundle,
            errors=asked.errors,
        )
    )
    if target is None:
        typer.echo(document, nl=False)
        return
    with replacing(target) as temporary:
        temporary.write_text(document, "ascii")
