"""Questions about recordings. Indexed recordings are asked at once, the others are heard first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import UsageError
from avdetect.events.rules import RuleOverrides
from avdetect.manifest import AlignmentSpec, EventRule
from avdetect.media.find_sources import find_sources
from avdetect.media.location import STANDARD_INPUT, is_url
from avdetect.runtime.bundle_files import BundleFiles, default_bundle_path, open_bundle_files
from avdetect.runtime.sound_text import alignment_of, open_text_model
from avdetect.search.answer import Answer, Place, QueryOptions, answer_document
from avdetect.search.catalogue import Maker, Stamp, made_by_another
from avdetect.search.corpus import Corpus
from avdetect.search.index import INDEX_NAME, SoundIndex, is_index
from avdetect.search.query import ask
from avdetect.text.scoring import SoundTrace, Story

if TYPE_CHECKING:
    from avdetect.runtime.batch import BatchListener


@dataclass(frozen=True, slots=True, eq=False)
class QueryResult:
    """A question, what it was asked of, and the answer."""

    text: str
    """The question as it was asked."""
    story: Story
    """The question as it was understood."""
    options: QueryOptions
    corpora: tuple[Corpus, ...]
    spec: AlignmentSpec
    answer: Answer
    bundle: str
    """Name and version of what listened."""
    errors: tuple[str, ...]
    """Why some of what was pointed at could not be asked."""

    @property
    def places(self) -> tuple[Place, ...]:
        """The places that were found, the best first."""
        return self.answer.places

    def as_dict(self, *, avdetect_version: str) -> dict[str, object]:
        """The document that ``avdetect query --json`` prints."""
        return answer_document(
            self.text,
            self.story,
            self.options,
            self.answer,
            avdetect_version=avdetect_version,
            bundle=self.bundle,
            errors=self.errors,
        )


def query(
    paths: Sequence[str | Path],
    text: str,
    *,
    top: int = 20,
    in_order: bool = False,
    within_s: float = 300.0,
    at_least: int | None = None,
    threshold: float | None = None,
    bundle: Path | str | None = None,
    device: str = "auto",
    jobs: int = 1,
    listener: BatchListener | None = None,
) -> QueryResult:
    """Find where in recordings something is heard. What no index holds is heard first.

    Args:
        paths: files, folders (to any depth), patterns, and folders of indexes.
        text: a phrase, or a story of several.
        top: how many places are wanted at most.
        in_order: whether the phrases of a story must be heard in its order.
        within_s: how long a passage of a story may be.
        at_least: how many phrases of a story a passage must hold; ``None`` for two thirds of them.
        threshold: the relevance from which on a phrase is heard; ``None`` for what the bundle says.
        bundle: what listens; ``None`` for the embedded default.
        device: where new recordings are heard, as for ``Bundle.load``.
        jobs: how many of them at once.
        listener: told how hearing gets on.

    Raises:
        UsageError: a value is out of its range, the text has no words, or a path cannot be heard from front to back.
        BundleError: the bundle does not understand words.
        SoundIndexError: an index is damaged, or was made by another alignment.
    """
    with (
        open_bundle_files(default_bundle_path() if bundle is None else Path(bundle)) as files,
        ThreadPoolExecutor(1) as opener,  # onnxruntime opens the graphs while Python finds the recordings
    ):
        loading = opener.submit(open_text_model, files, for_few=True)
        spec = alignment_of(files.path, files.manifest)
        maker = Maker.of(files.manifest, spec)
        options = QueryOptions(_rule(spec, threshold), top, in_order, within_s, at_least)
        material = _gather([str(path) for path in paths], maker)
        story = loading.result().story(text)
    options.check(story)
    corpora, errors = list(material.corpora), list(material.problems)
    if material.unheard:
        heard, failures = _hear(material.unheard, files, spec.joint_dim, device=device, jobs=jobs, listener=listener)
        corpora.append(heard)
        errors += failures
    found = ask(corpora, story, spec, options)
    return QueryResult(text, story, options, tuple(corpora), spec, found, maker.bundle, tuple(errors))


def _rule(spec: AlignmentSpec, threshold: float | None) -> EventRule:
    (chosen,) = RuleOverrides.parse(threshold=threshold).apply([spec.prompt_rule], ["prompt"])
    return chosen or spec.prompt_rule


def _hear(
    sources: Sequence[str],
    files: BundleFiles,
    joint_dim: int,
    *,
    device: str,
    jobs: int,
    listener: BatchListener | None,
) -> tuple[Corpus, list[str]]:
    """Hear ``sources``; return a corpus of them, and the errors of those that failed."""
    from avdetect.runtime.hearing import hear_many  # where an index has it all, there is no time to import this

    heard: list[tuple[str, SoundTrace, float]] = []
    failures: list[str] = []
    for one in hear_many(sources, bundle=files.path, device=device, jobs=jobs, listener=listener):
        if one.heard is None:
            failures.append(one.error)
        else:
            heard.append((one.source, one.heard.trace, one.heard.end_s))
    return Corpus.of(heard, hop=files.manifest.hop, joint_dim=joint_dim), failures


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """The recordings that the user named."""

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
        """The index for a file, if there is one."""
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
