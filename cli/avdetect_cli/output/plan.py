"""What became of each source, and where results go: settled and checked before anything is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.files import kind_of
from avdetect.media.location import STANDARD_INPUT
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.runtime.batch import FailedSource
from avdetect.sinks.formats import FORMATS, paths_for
from avdetect.sinks.scores import check_scores_path
from avdetect_cli.output.targets import PAGE_SUFFIXES, check_outputs

if TYPE_CHECKING:
    from avdetect.runtime.pipeline import ScoreResult, ScoreStats

__all__ = ["Finding", "OutputPlan", "OutputRequest", "plan_outputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A scored source, one whose saved scores were read, or one that failed."""

    source: str
    curve: ScoreCurve | None = None
    """``None`` where the source failed."""
    events: tuple[Event, ...] = ()
    """In the order of their start."""
    media: MediaInfo | None = None
    """``None`` where the source was not opened."""
    notes: tuple[MediaNote, ...] = ()
    stats: ScoreStats | None = None
    """``None`` where nothing was scored."""
    error: str | None = None
    """Why it failed."""

    @staticmethod
    def of(result: ScoreResult | FailedSource) -> Finding:
        """From what scoring gave."""
        if isinstance(result, FailedSource):
            return Finding.failed(result.source, result.error)
        return Finding(result.source, result.curve, result.events, result.media, result.notes, result.stats)

    @staticmethod
    def failed(source: str, error: str) -> Finding:
        """Of a source that could not be scored, and why."""
        return Finding(source, error=error)


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """What the user asked for."""

    json: bool = False
    format: str | None = None
    output: Path | None = None
    """``None`` or ``-`` for standard output."""
    scores: Path | None = None
    report: Path | None = None
    clips: Path | None = None
    """A folder."""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What is written where; the request fits the sources, and no output is in the way of anything."""

    json: bool
    format: str | None
    """Of the events; ``None`` where they are not written."""
    target: Path | None
    """The file of the JSON or of all events; ``None`` for standard output."""
    event_files: dict[str, Path]
    """Of each source, where every one has its own."""
    scores: Path | None
    report: Path | None
    clips: Path | None
    clip_stems: dict[str, str]
    """What the names of each source's clips begin with."""
    summary: bool
    """Whether a person reads standard output."""
    notes: bool
    """Whether warnings go to standard error, because no summary shows them."""


def plan_outputs(request: OutputRequest, sources: Sequence[str], *, also_read: Sequence[Path] = ()) -> OutputPlan:
    """Settle where everything goes.

    Args:
        request: what the user asked for.
        sources: what there will be findings of.
        also_read: files that are read besides, and must not be overwritten either.

    Raises:
        UsageError: parts of the request contradict each other, or do not fit the number of sources.
        OutputError: A result could not be written where it is asked for.
    """
    output = None if request.output is None or str(request.output) == STANDARD_INPUT else request.output
    json, form = _format_of(request)
    folder = output if output is not None and kind_of(output) == "folder" else None
    for_program = (json or form is not None) and output is None
    plan = OutputPlan(
        json=json,
        format=form,
        target=None if folder is not None else output,
        event_files=_event_files(form, folder, sources),
        scores=request.scores,
        report=request.report,
        clips=request.clips,
        clip_stems=_clip_stems(request.clips, sources),
        summary=not for_program and not request.quiet,
        notes=for_program and not request.quiet,
    )
    if folder is not None and json:
        raise UsageError(f"-o {folder} is a folder: name the file that the JSON goes to.")
    if folder is None and form is not None and len(sources) > 1 and not FORMATS[form].holds_many_sources:
        raise UsageError(
            f"a file of the format {form} holds the events of one source: with {len(sources)} of them, "
            "name an existing folder with -o."
        )
    if plan.clips is not None and STANDARD_INPUT in sources:
        raise UsageError("--clips needs files that can be read a second time, not standard input.")
    files = {"-o": plan.target, "--scores": plan.scores, "--report": plan.report}
    check_outputs(
        files | {f"-o of {source}": path for source, path in plan.event_files.items()},
        folders={"-o": folder, "--clips": plan.clips},
        read=[*(source for source in sources if source != STANDARD_INPUT), *also_read],
        suffixes={"--report": PAGE_SUFFIXES},
    )
    if plan.scores is not None:
        check_scores_path(plan.scores)
    return plan


def _format_of(request: OutputRequest) -> tuple[bool, str | None]:
    """Whether JSON, and which format; by the suffix of ``-o`` where neither was named."""
    if request.json and request.format is not None:
        raise UsageError("--json and --format exclude each other: choose one.")
    if request.json or request.format is not None or request.output is None:
        return request.json, request.format
    suffix = request.output.suffix.lower()
    by_suffix = {form.suffix: name for name, form in FORMATS.items() if form.suffix != ".txt"}
    if suffix != ".json" and suffix not in by_suffix:
        raise UsageError(
            f"-o {request.output} does not tell the format: add --json or --format ({', '.join(FORMATS)})."
        )
    return suffix == ".json", by_suffix.get(suffix)


def _event_files(form: str | None, folder: Path | None, sources: Sequence[str]) -> dict[str, Path]:
    if form is None or folder is None:
        return {}
    return dict(zip(sources, paths_for(sources, folder, form), strict=True))


def _clip_stems(folder: Path | None, sources: Sequence[str]) -> dict[str, str]:
    if folder is None:
        return {}
    names = paths_for(sources, folder, next(iter(FORMATS)))  # any format's: namesakes are told apart
    return {source: name.stem for source, name in zip(sources, names, strict=True)}
