"""Sound alone -> traces: what an index keeps of a recording, and the index. Pictures are not decoded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avdetect.errors import BundleError, MediaError, UsageError
from avdetect.features.encoders import EncoderSessions, SnippetEmbedding
from avdetect.features.encoding import EncodingOptions, Progress, open_embeddings
from avdetect.files import kind_of
from avdetect.manifest import Manifest
from avdetect.media.find_sources import find_sources
from avdetect.media.location import STANDARD_INPUT, is_url
from avdetect.media.source import probe
from avdetect.runtime.batch import BatchListener, in_order, watched
from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files, read_manifest
from avdetect.runtime.session import open_sessions
from avdetect.runtime.sound_text import SoundModel, SoundStream, alignment_of
from avdetect.search.catalogue import Maker, Stamp
from avdetect.search.index import INDEX_NAME
from avdetect.search.index_writer import IndexWriter
from avdetect.text.scoring import Floats, SoundTrace

if TYPE_CHECKING:
    import onnxruntime


_BATCH_SNIPPETS = 16
_CHUNK_SNIPPETS = 64
"""Number of snippets that the alignment takes at once."""
_SNIPPETS_AHEAD = 64
"""Number of snippets that may wait between two threads; one takes 64 kB without pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A recording, heard."""

    trace: SoundTrace
    """The trace; it has no snippets where the recording has no sound."""
    end_s: float
    """The end of the last snippet, in seconds from the grid's origin."""


@dataclass(frozen=True, slots=True, eq=False)
class Ears:
    """A bundle's audio encoder and the audio side of its alignment. Safe to share between threads."""

    manifest: Manifest
    audio: onnxruntime.InferenceSession
    sound: SoundModel
    notes: tuple[str, ...]
    """Notes for the user about loading it."""
    is_cpu: bool

    @staticmethod
    def open(path: Path | None = None, *, device: str = "auto", num_threads: int | None = None) -> Ears:
        """Open these two of the bundle at ``path``; every file is checked before it is used.

        Args:
            path: a directory or a ``.zip`` of one; ``None`` for the embedded default.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``tensorrt``.
            num_threads: of the CPU, for one run of a graph; by default one per processor, but no more than four.

        Raises:
            BundleError: it is missing or damaged, contradicts itself, or has no alignment.
            ProviderError: the device was asked for and could not be loaded.
            UsageError: ``device`` is not known.
        """
        with open_bundle_files(default_bundle_path() if path is None else path) as files:
            spec = alignment_of(files.path, files.manifest)
            if files.manifest.audio is None:
                raise BundleError(f"{files.path} has no audio encoder: it scores features, not recordings.")
            graphs = {
                "audio": files.read_graph(files.manifest.audio.graph),
                "alignment": files.read_graph(spec.audio_graph),
            }
        opened = open_sessions(graphs, where=files.path, device=device, num_threads=num_threads)
        sound = SoundModel(spec, opened.sessions["alignment"])
        sound.check(files.path, audio_dim=files.manifest.audio_dim)
        return Ears(
            manifest=files.manifest,
            audio=opened.sessions["audio"],
            sound=sound,
            notes=opened.notes,
            is_cpu=opened.provider.is_cpu,
        )

    def hear(self, source: str | Path, *, on_progress: Callable[[Progress], None] | None = None) -> Heard:
        """Listen to a file from front to back.

        Args:
            source: a file or the URL of one.
            on_progress: called after every few snippets; what it raises ends the hearing.

        Raises:
            MediaError: it cannot be opened, or nothing of it could be decoded.
        """
        gathered = _Gathered(self)
        sessions = EncoderSessions(visual=None, motion=None, audio=self.audio)
        options = EncodingOptions(
            batch_snippets=_BATCH_SNIPPETS, fixed_batch=not self.is_cpu, snippets_ahead=_SNIPPETS_AHEAD
        )
        try:
            embeddings = open_embeddings(source, self.manifest, sessions, options, on_progress=on_progress)
        except MediaError:
            if probe(source).audio_codec is None:  # a video without sound is no mistake
                return gathered.heard()
            raise
        with embeddings:
            for snippet in embeddings:
                gathered.add(snippet)
        return gathered.heard()


class _Gathered:
    """Takes embeddings, and keeps no more of them than what the alignment makes of them."""

    def __init__(self, ears: Ears) -> None:
        self._audio_dim = ears.manifest.audio_dim
        self._stream = SoundStream(ears.sound)
        self._vectors = [np.zeros((0, ears.sound.spec.joint_dim), np.float32)]
        self._salience = [np.zeros(0, np.float32)]
        self._present: list[bool] = []
        self._waiting: list[SnippetEmbedding] = []
        self._end_s = 0.0

    def add(self, snippet: SnippetEmbedding) -> None:
        """Take the next one."""
        self._waiting.append(snippet)
        self._present.append(snippet.audio_present)
        self._end_s = snippet.span.end_s
        if len(self._waiting) == _CHUNK_SNIPPETS:
            self._push()

    def heard(self) -> Heard:
        """All were taken."""
        if self._waiting:
            self._push()
        if self._present:
            self._keep(*self._stream.flush(self._audio_dim))
        trace = SoundTrace(
            np.concatenate(self._vectors), np.concatenate(self._salience), np.array(self._present, np.bool_)
        )
        return Heard(trace, self._end_s)

    def _push(self) -> None:
        audio = np.stack([snippet.audio for snippet in self._waiting])
        present = np.array([snippet.audio_present for snippet in self._waiting])
        self._keep(*self._stream.push(audio, present))
        self._waiting.clear()

    def _keep(self, vectors: Floats, salience: Floats) -> None:
        self._vectors.append(vectors)
        self._salience.append(salience)


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """A recording that was heard, or one that failed."""

    source: str
    stamp: Stamp
    """The state of the file before it was heard; zeros where hearing failed."""
    heard: Heard | None
    """``None`` where hearing failed."""
    error: str
    """Why it failed; empty where it did not."""

    @staticmethod
    def failed(source: str, error: str) -> Hearing:
        """A recording that could not be heard, and why."""
        return Hearing(source, Stamp(0, 0), None, error)


def hear_many(
    sources: Sequence[str],
    *,
    bundle: Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    listener: BatchListener | None = None,
) -> Iterator[Hearing]:
    """Hear files; one that cannot be heard does not stop the others.

    Args:
        sources: what to hear; without any, nothing is loaded.
        bundle: what hears; ``None`` for the embedded default.
        device: where it runs.
        jobs: how many files at once.
        listener: told how they get on.

    Yields:
        What became of each file, in their order, as soon as it and all before it were heard.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single file.
    """
    if not sources:
        return
    told = listener or BatchListener()
    told.begin(sources)
    ears = Ears.open(bundle, device=device)
    for note in ears.notes:
        told.note(note)
    cancel = threading.Event()

    def work(source: str, tell: Callable[[Progress], None]) -> Hearing:
        try:
            stamp = Stamp.of(source)
            return Hearing(source, stamp, ears.hear(source, on_progress=tell), "")
        except OSError as error:
            raise MediaError(f"{source}: {error.strerror or error}.") from error

    yield from in_order(sources, watched(work, told, cancel), Hearing.failed, jobs=jobs, cancel=cancel)


@dataclass(frozen=True, slots=True)
class IndexUpdate:
    """The result of making or updating an index."""

    folder: Path
    num_files: int
    """Number of files that were looked at."""
    num_heard: int
    num_kept: int
    """Number of recordings that it already held in their present state."""
    num_dropped: int
    """Number of recordings that are no longer there."""
    heard_s: float
    """Total length of the recordings that were heard."""
    elapsed_s: float
    """Wall-clock time."""
    errors: tuple[str, ...]
    """The reasons for which some files could not be heard."""


def index(
    paths: Sequence[str | Path],
    folder: Path | str | None = None,
    *,
    bundle: Path | str | None = None,
    device: str = "auto",
    jobs: int = 1,
    fresh: bool = False,
    listener: BatchListener | None = None,
) -> IndexUpdate:
    """Hear recordings once, so that ``query`` answers at once; hear only what an index does not hold yet.

    Args:
        paths: files, folders (to any depth) and patterns.
        folder: the index; ``None`` to put that of a single folder inside it, hidden.
        bundle: what listens; ``None`` for the embedded default.
        device: where it runs, as for ``Bundle.load``.
        jobs: how many files at once.
        fresh: begin anew, whatever the index holds.
        listener: told how hearing gets on.

    Raises:
        UsageError: it is not clear where the index goes, or a path is no file.
        SoundIndexError: the index is damaged, in use or made by another alignment.
        OutputError: it cannot be written.
        BundleError: the bundle does not understand words.
    """
    named = [str(path) for path in paths]
    place = _place(named, folder)
    sources, problems = find_sources(named)
    for source in sources:
        if is_url(source) or source == STANDARD_INPUT:
            raise UsageError(f"an index is made of files, and {source} is none.")
    failures = [str(error) for _, error in problems]
    started = time.monotonic()
    ends_s: list[float] = []
    num_kept = num_dropped = 0
    if sources:
        location = default_bundle_path() if bundle is None else Path(bundle)
        manifest = read_manifest(location)
        maker = Maker.of(manifest, alignment_of(location, manifest))
        with IndexWriter(place, maker, fresh=fresh) as writer:
            # A folder that is empty may be a disk that is not there: nothing is dropped for its sake.
            empty = {path for path, _ in problems}
            num_dropped = writer.drop_vanished([path for path in named if path not in empty], sources)
            new = [source for source in sources if not _is_known(source, writer)]
            for one in hear_many(new, bundle=location, device=device, jobs=jobs, listener=listener):
                if one.heard is None:
                    failures.append(one.error)
                    writer.drop(one.source)
                else:
                    writer.add(one.source, one.stamp, one.heard.trace, one.heard.end_s)
                    ends_s.append(one.heard.end_s)
            num_kept = len(writer) - len(ends_s)
    elapsed_s = time.monotonic() - started
    return IndexUpdate(place, len(sources), len(ends_s), num_kept, num_dropped, sum(ends_s), elapsed_s, tuple(failures))


def _place(paths: Sequence[str], folder: Path | str | None) -> Path:
    """Return the folder of the index."""
    if folder is not None:
        return Path(folder)
    if len(paths) == 1 and kind_of(Path(paths[0])) == "folder":
        return Path(paths[0]) / INDEX_NAME
    raise UsageError("only a single folder can have its index inside: say with -o where this one goes.")


def _is_known(source: str, writer: IndexWriter) -> bool:
    """Tell whether the index holds the file in its present state. A missing file is not known; hearing it says why."""
    try:
        return writer.holds(source, Stamp.of(source))
    except OSError:
        return False
