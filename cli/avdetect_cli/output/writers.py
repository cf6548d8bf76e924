"""Findings on their way out: to files, to programs, to people.

Every output is a context manager that gives a function to write findings with. Leaving it makes the output whole,
leaving it by an exception discards it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from avdetect.errors import AvdetectError
from avdetect.events.curve import ScoreCurve
from avdetect.files import replacing
from avdetect.manifest import Manifest
from avdetect.sinks.formats import json_line, open_sink
from avdetect.sinks.score_document import source_document
from avdetect.sinks.scores import write_scores
from avdetect_cli import output, terminal
from avdetect_cli.output.plan import Finding, OutputPlan
from avdetect_cli.terminal.stdout import StdoutError
from avdetect_cli.terminal.text import out, say, show_time

if TYPE_CHECKING:
    from avdetect_cli.terminal.summary import Summary

__all__ = ["Writers"]

Write = Callable[[Finding], None]
Output = AbstractContextManager[Write]


@dataclass(frozen=True, slots=True)
class _Planned:
    """An output that is still to be opened."""

    output: Output
    in_one: bool = True
    """Whether it is one file or stream, of which nothing is left when a finding could not be written to it."""
    is_result: bool = True
    """Whether it is what scoring is done for; notes are not."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """An output that takes findings."""

    planned: _Planned
    stack: ExitStack
    """Leaving it makes the output whole, leaving it by an exception discards it."""
    write: Write


class Writers:
    """Every output of a plan, behind one ``write``; one that fails does not stop the others.

    Args:
        plan: What goes where.
        bundle: The manifest of the bundle at work, where one is.
        on_thresholds: For each class, the probability at which an event opens.
        version: The version of avdetect.
    """

    def __init__(
        self, plan: OutputPlan, *, bundle: Manifest | None, on_thresholds: Mapping[str, float], version: str
    ) -> None:
        self._planned = list(_planned(plan, bundle, on_thresholds, version))
        self._opened: list[_Opened] = []
        self._not_opened: list[AvdetectError] = []

    def __enter__(self) -> Self:
        with ExitStack() as all_of_them:
            for planned in self._planned:
                stack = ExitStack()
                try:
                    self._opened.append(_Opened(planned, stack, stack.enter_context(planned.output)))
                except StdoutError as error:  # the files are written all the same
                    self._not_opened.append(error)
                all_of_them.push(stack)
            all_of_them.pop_all()  # from here on each is closed by itself
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in self._opened:
            opened.stack.__exit__(kind, error, trace)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to write results to."""
        return not any(opened.planned.is_result for opened in self._opened) and any(
            planned.is_result for planned in self._planned
        )

    @property
    def has_files(self) -> bool:
        """Whether anything is written beside standard output."""
        return sum(planned.is_result for planned in self._planned) > 1

    def write(self, finding: Finding) -> list[AvdetectError]:
        """Write ``finding`` to every output; give back what went wrong."""
        errors: list[AvdetectError] = []
        for opened in tuple(self._opened):
            try:
                opened.write(finding)
            except (AvdetectError, OSError) as error:
                if not opened.planned.in_one:
                    if isinstance(error, OSError):
                        raise
                    errors.append(error)
                    continue
                self._opened.remove(opened)  # it is given up, and said once
                errors.append(_given_up(opened.stack, error))
        return errors

    def finish(self) -> list[AvdetectError]:
        """Make every output whole; give back what went wrong."""
        errors = self._not_opened
        for opened in self._opened:
            try:
                opened.stack.close()
            except AvdetectError as error:
                errors.append(error)
        return errors


def _given_up(stack: ExitStack, error: AvdetectError | OSError) -> AvdetectError:
    """Discard an output that failed; give back the sentence that says so.

    Raises:
        OSError: Nobody has a sentence for it.
    """
    try:
        stack.__exit__(type(error), error, error.__traceback__)
    except AvdetectError as told:
        return told
    if isinstance(error, OSError):
        raise error
    return error


def _planned(
    plan: OutputPlan, bundle: Manifest | None, on_thresholds: Mapping[str, float], version: str
) -> Iterator[_Planned]:
    if plan.json:
        yield _Planned(_documents(plan.target, bundle, version))
    elif plan.event_files:
        yield _Planned(_event_files(plan.format or "", plan.event_files), in_one=False)
    elif plan.format is not None:
        yield _Planned(_events(plan.format, plan.target))
    if plan.scores is not None:
        yield _Planned(_scores(plan.scores))
    if plan.report is not None:
        yield _Planned(output.pages.report_output(plan.report, on_thresholds))
    if plan.clips is not None:
        yield _Planned(_clips(plan.clips, plan.clip_stems), in_one=False)
    if plan.summary:
        yield _Planned(_summary())
    if plan.notes:
        yield _Planned(_notes(), is_result=False)


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
            stream.write(json_line(document))
            stream.flush()

        yield write


@contextmanager
def _events(form: str, target: Path | None) -> Iterator[Write]:
    with open_sink(form, sys.stdout if target is None else target) as sink:

        def write(finding: Finding) -> None:
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
            out()
        else:
            summaries.append(terminal.summary.Summary.on_stdout())
        summaries[0].show(finding)

    yield write


@contextmanager
def _notes() -> Iterator[Write]:
    def write(finding: Finding) -> None:
        for note in finding.notes:
            where = "" if note.time_s is None else f" (at {show_time(note.time_s)})"
            say(f"avdetect: note: {finding.source}: {note.message}{where}", quiet=False)

    yield write
