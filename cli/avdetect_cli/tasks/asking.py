"""A question about recordings, and its answer as lines, a document or a page."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import typer

from avdetect.files import replacing
from avdetect.runtime.asking import QueryResult, query
from avdetect.sinks.formats import json_line
from avdetect_cli import output as output_files
from avdetect_cli.terminal.answers import answer_lines
from avdetect_cli.terminal.progress import ProgressDisplay
from avdetect_cli.terminal.text import out, say, warn

__all__ = ["answer"]


class _HeardFirst(ProgressDisplay):
    """Says that a question has to wait, and why."""

    def begin(self, sources: Sequence[str]) -> None:
        """These are heard before the question can be answered."""
        count = "1 recording is" if len(sources) == 1 else f"{len(sources)} recordings are"
        say(f"{count} heard first; after `avdetect index` a question takes no time.", quiet=self.quiet)
        super().begin(sources)


def answer(
    paths: Sequence[str],
    text: str,
    *,
    in_order: bool,
    within_s: float,
    at_least: int | None,
    threshold: float | None,
    top: int,
    json: bool,
    output: Path | None,
    report: Path | None,
    bundle_path: Path | None,
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Ask, and show or write the answer.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single recording.
        typer.Exit: some of what was pointed at could not be asked.
    """
    started = time.monotonic()
    with closing(_HeardFirst(enabled=sys.stderr.isatty() and not quiet, quiet=quiet)) as display:
        found = query(
            paths,
            text,
            top=top,
            in_order=in_order,
            within_s=within_s,
            at_least=at_least,
            threshold=threshold,
            bundle=bundle_path,
            device=device,
            jobs=jobs,
            listener=display,
        )
    if output is not None:
        _write_document(found, output)
    if report is not None:
        output_files.pages.write_answer_page(report, found)
    if json and output is None:  # after the files, which are written whatever becomes of standard output
        _write_document(found, None)
    elif not json and not quiet:
        out(*answer_lines(found, elapsed_s=time.monotonic() - started))
    for error in found.errors:
        warn(error)
    if found.errors:
        raise typer.Exit(1)


def _write_document(found: QueryResult, target: Path | None) -> None:
    document = json_line(found.as_dict(avdetect_version=version("avdetect")))
    if target is None:
        out(document.removesuffix("\n"))
        return
    with replacing(target) as temporary:
        temporary.write_text(document, "ascii")
