"""From a question to its answer: what indexes hold is asked at once, the rest is heard first."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import typer

from avdetect.errors import UsageError
from avdetect.events.rules import with_overrides
from avdetect.files import replacing
from avdetect.manifest import AlignmentSpec, EventRule
from avdetect.media.find_sources import find_sources
from avdetect.media.location import STANDARD_INPUT, is_url
from avdetect.runtime.bundle_files import BundleFiles, default_bundle_path, open_bundle_files
from avdetect.runtime.sound_text import TextModel, alignment_of, open_text_model
from avdetect.search.answer import Answer, QueryOptions, answer_document
from avdetect.search.catalogue import Maker, Stamp, made_by_another
from avdetect.search.corpus import Corpus
from avdetect.search.index import INDEX_NAME, SoundIndex, is_index
from avdetect.search.query import ask
from avdetect.sinks.formats import json_line
from avdetect.text.scoring import SoundTrace, Story
from avdetect_cli import output as output_files
from avdetect_cli import tasks
from avdetect_cli.terminal.answers import answer_lines
from avdetect_cli.terminal.text import say

__all__ = ["Asked", "Wishes", "answer", "ask_paths"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for beside the text; ``None`` leaves the default."""

    in_order: bool
    within_s: float
    at_least: int | None
    threshold: float | None
    top: int

    def options(self, rule: EventRule) -> QueryOptions:
        """Laid over the bundle's ``rule``.

        Raises:
            UsageError: a value is out of its range.
        """
        (chosen,) = with_overrides([rule], ["prompt"], threshold=self.threshold)
        return QueryOptions(chosen or rule, self.top, self.in_order, self.within_s, self.at_least)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question, what it was asked of, and the answer."""

    story: Story
    options: QueryOptions
    corpora: tuple[Corpus, ...]
    spec: AlignmentSpec
    answer: Answer
    bundle: str
    """Name and version of what listened."""
    errors: tuple[str, ...]
    """Why some of what was pointed at could not be asked."""


def ask_paths(
    paths: Sequence[str],
    text: str,
    wishes: Wishes,
    files: BundleFiles,
    loading: Future[TextModel],
    *,
    device: str,
    jobs: int,
    quiet: bool,
) -> Asked:
    """Ask ``text`` of what ``paths`` stand for.

    Args:
        paths: files, folders and indexes.
        text: a phrase or a story.
        wishes: what counts as a place.
        files: of the bundle.
        loading: its text side, being opened.
        device: what new recordings are heard on.
        jobs: how many of them at once.
        quiet: say nothing beside the answer.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single recording.
    """
    spec = alignment_of(files.path, files.manifest)
    maker = Maker.of(files.manifest, spec)
    options = wishes.options(spec.prompt_rule)
    material = _gather(paths, maker)
    story = loading.result().story(text)
    options.check(story)
    corpora, errors = list(material.corpora), list(material.problems)
    if material.unheard:
        heard, failures = _hear(material.unheard, files, spec.joint_dim, device=device, jobs=jobs, quiet=quiet)
        corpora.append(heard)
        errors += failures
    return Asked(
        story=story,
        options=options,
        corpora=tuple(corpora),
        spec=spec,
        answer=ask(corpora, story, spec, options),
        bundle=maker.bundle,
        errors=tuple(errors),
    )


def _hear(
    sources: Sequence[str], files: BundleFiles, joint_dim: int, *, device: str, jobs: int, quiet: bool
) -> tuple[Corpus, list[str]]:
    """What ``sources`` leave behind, and why some leave nothing."""
    count = "1 recording is" if len(sources) == 1 else f"{len(sources)} recordings are"
    say(f"{count} heard first; after `avdetect index` a question takes no time.", quiet=quiet)
    heard: list[tuple[str, SoundTrace, float]] = []
    failures: list[str] = []
    for one in tasks.hearing.hear_all(  # imported here: where an index has it all, there is no time for it
        sources, files.path, device=device, jobs=jobs, quiet=quiet
    ):
        if one.heard is None:
            failures.append(one.error)
        else:
            heard.append((one.source, one.heard.trace, one.heard.end_s))
    return Corpus.of(heard, hop=files.manifest.hop, joint_dim=joint_dim), failures


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """What was pointed at."""

    corpora: tuple[Corpus, ...]
    """Heard already."""
    unheard: tuple[str, ...]
    """Files that no index holds as they are now."""
    problems: tuple[str, ...]
    """Why some of it cannot be asked."""


def _gather(paths: Sequence[str], maker: Maker) -> _Material:
    """Find out what ``paths`` stand for: indexes themselves, or files, which an index in a folder above may hold.

    Raises:
        SoundIndexError: an index is damaged, or not made by ``maker``.
        UsageError: a path is something that cannot be heard from front to back at any time.
    """
    named = list(dict.fromkeys(path for path in paths if is_index(Path(path))))
    sources, problems = find_sources([path for path in paths if path not in named])
    if any(is_url(source) or source == STANDARD_INPUT for source in sources):
        raise UsageError("a question is asked of files, folders and indexes, not of a URL or standard input.")
    corpora = [_opened(Path(path), maker).corpus() for path in named]
    taken = {os.path.abspath(source) for corpus in corpora if sources for source in corpus.sources}  # noqa: PTH100
    indexes, unheard = _Indexes(maker), []
    held: dict[SoundIndex, dict[int, str]] = {}
    for source in sources:
        if os.path.abspath(source) in taken:  # noqa: PTH100
            continue
        index = indexes.above(source)
        number = None if index is None else _number_of(index, source)
        if index is None or number is None:
            unheard.append(source)
        else:
            held.setdefault(index, {})[number] = source
    corpora += [index.corpus().chosen(names) for index, names in held.items()]
    return _Material(tuple(corpora), tuple(unheard), tuple(str(error) for _, error in problems))


class _Indexes:
    """The index of the nearest folder above that has one inside, looked for once per folder."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._by_folder: dict[str, SoundIndex | None] = {}

    def above(self, source: str) -> SoundIndex | None:
        """Of a file."""
        return self._of(os.path.dirname(os.path.abspath(source)))  # noqa: PTH100, PTH120

    def _of(self, folder: str) -> SoundIndex | None:
        if folder not in self._by_folder:
            inside, parent = Path(folder) / INDEX_NAME, os.path.dirname(folder)  # noqa: PTH120
            if is_index(inside):
                self._by_folder[folder] = _opened(inside, self._maker)
            else:
                self._by_folder[folder] = self._of(parent) if parent != folder else None
        return self._by_folder[folder]


def _opened(folder: Path, maker: Maker) -> SoundIndex:
    index = SoundIndex(folder)
    if not maker.agrees_with(index.maker):
        raise made_by_another(folder, index.maker, maker)
    return index


def _number_of(index: SoundIndex, source: str) -> int | None:
    try:
        return index.number_of(source, Stamp.of(source))
    except OSError:
        return None  # whoever hears it will say why


def answer(
    paths: Sequence[str],
    text: str,
    wishes: Wishes,
    *,
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
    with (
        open_bundle_files(default_bundle_path() if bundle_path is None else bundle_path) as files,
        ThreadPoolExecutor(1) as opener,  # onnxruntime opens the graphs while Python finds the recordings
    ):
        loading = opener.submit(open_text_model, files, for_few=True)
        asked = ask_paths(paths, text, wishes, files, loading, device=device, jobs=jobs, quiet=quiet)
    if json or output is not None:
        _write_document(asked, text, output)
    if report is not None:
        output_files.pages.write_answer_page(report, asked, text)
    if not json and not quiet:
        for line in answer_lines(asked, elapsed_s=time.monotonic() - started):
            typer.echo(line)
    for error in asked.errors:
        typer.echo(f"avdetect: {error}", err=True)
    if asked.errors:
        raise typer.Exit(1)


def _write_document(asked: Asked, text: str, target: Path | None) -> None:
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
