"""Findings on their way out: to files, to programs, to people.

Every output is a context manager that gives a function to write findings with. Leaving it makes the output whole,
leaving it by an exception discards it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import typer

from avdetect.errors import AvdetectError, OutputError
from avdetect.events.curve import ScoreCurve
from avdetect.files import replacing
from avdetect.manifest import Manifest
from avdetect.sinks.formats import json_line, open_sink
from avdetect.sinks.score_document import source_document
from avdetect.sinks.scores import write_scores
from avdetect_cli import output, terminal
from avdetect_cli.output.plan import Finding, OutputPlan
from avdetect_cli.terminal.text import show_time

if TYPE_CHECKING:
    from avdetect_cli.terminal.summary import Summary

__all__ = ["Writers"]

Write = Callable[[Finding], None]
Output = AbstractContextManager[Write]


class Writers:
    """Every output of a plan, behind one ``write``.

    Args:
        plan: what goes where.
        bundle: the manifest of the bundle at work, where one is.
        on_thresholds: per class, the probability at which an event opens.
        version: of avdetect.
    """

    def __init__(
        self, plan: OutputPlan, *, bundle: Manifest | None, on_thresholds: Mapping[str, float], version: str
    ) -> None:
        self._planned = list(_planned(plan, bundle, on_thresholds, version))
        self._opened: list[ExitStack] = []
        self._writes: list[Write] = []

    def __enter__(self) -> Self:
        for planned in self._planned:
            stack = ExitStack()
            self._writes.append(stack.enter_context(planned))
            self._opened.append(stack)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stack in self._opened:
            stack.__exit__(kind, error, trace)

    def write(self, finding: Finding) -> list[AvdetectError]:
        """Write ``finding`` to every output; give back what went wrong, which does not stop the others."""
        errors = []
        for write in self._writes:
            try:
                write(finding)
            except AvdetectError as error:
                errors.append(error)
        return errors

    def finish(self) -> list[AvdetectError]:
        """Make every output whole; give back what went wrong."""
        errors = []
        for stack in self._opened:
            try:
                stack.close()
            except AvdetectError as error:
                errors.append(error)
        return errors


def _planned(
    plan: OutputPlan, bundle: Manifest | None, on_thresholds: Mapping[str, float], version: str
) -> Iterator[Output]:
    if plan.json:
        yield _documents(plan.target, bundle, version)
    elif plan.event_files:
        yield _event_files(plan.format or "", plan.event_files)
    elif plan.format is not None:
        yield _events(plan.format, plan.target)
    if plan.scores is not None:
        yield _scores(plan.scores)
    if plan.report is not None:
        yield output.pages.report_output(plan.report, on_thresholds)
    if plan.clips is not None:
        yield _clips(plan.clips, plan.clip_stems)
    if plan.summary:
        yield _summary()
    if plan.notes:
        yield _notes()


@contextmanager
def _documents(target: Path | None, bundle: Manifest | None, version: str) -> Iterator[Write]:
    """One line of JSON per source; failed ones too, so that a program sees every source it asked for."""
    with ExitStack() as stack:
        stream: TextIO = sys.stdout
        if target is not None:
            stream = stack.enter_context(stack.enter_context(replacing(target)).open("w", encoding="utf-8"))

        def write(finding: Finding) -> None:
            document = source_document(
                finding.source,
                avdetect_version=version,
                bundle=bundle,
                media=finding.media,
                events=finding.events,
                notes=finding.notes,
                stats=finding.stats,
                error=finding.error,
            )
            with _disk_trouble(target):
                stream.write(json_line(document))
                stream.flush()

        yield write


@contextmanager
def _events(form: str, target: Path | None) -> Iterator[Write]:
    with open_sink(form, sys.stdout if target is None else target) as sink:

        def write(finding: Finding) -> None:
            with _disk_trouble(target):
                for event in finding.events:
                    sink.write(finding.source, event)

        yield write


@contextmanager
def _event_files(form: str, targets: Mapping[str, Path]) -> Iterator[Write]:
    def write(finding: Finding) -> None:
        if finding.curve is not None:
            with _events(form, targets[finding.source]) as write_events:
                write_events(finding)

    yield write


@contextmanager
def _scores(target: Path) -> Iterator[Write]:
    curves: list[ScoreCurve] = []

    def write(finding: Finding) -> None:
        if finding.curve is not None:
            curves.append(finding.curve)

    yield write
    if curves:
        write_scores(target, curves)


@contextmanager
def _clips(folder: Path, stems: Mapping[str, str]) -> Iterator[Write]:
    def write(finding: Finding) -> None:
        if finding.events:
            from avdetect.sinks.clips import cut_clips

            origin_s = 0.0 if finding.media is None else finding.media.origin_s
            stem = stems[finding.source]
            cut_clips(Path(finding.source), finding.events, folder, origin_s=origin_s, stem=stem)

    yield write


@contextmanager
def _summary() -> Iterator[Write]:
    summaries: list[Summary] = []  # made with the first finding: rich takes a while to load, scoring should not wait

    def write(finding: Finding) -> None:
        if finding.curve is None:
            return
        if summaries:
            typer.echo()
        else:
            summaries.append(terminal.summary.Summary.on_stdout())
        summaries[0].show(finding)

    yield write


@contextmanager
def _notes() -> Iterator[Write]:
    def write(finding: Finding) -> None:
        for note in finding.notes:
            where = "" if note.time_s is None else f" (at {show_time(note.time_s)})"
            typer.echo(f"avdetect: note: {finding.source}: {note.message}{where}", err=True)

    yield write


@contextmanager
def _disk_trouble(target: Path | None) -> Iterator[None]:
    """Say which file it was that could not be written. A closed pipe is no trouble but a wish to stop."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {target or 'to standard output'}: {error.strerror or error}.") from error
