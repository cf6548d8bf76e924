"""The embeddings of a data set: made by the scorer's own stages, and kept on disk in a file per video.

A file is written aside and renamed, so that a half-written one never counts as done. What it was made from (the
encoders, the video's size and time of change) is in its metadata: there is no index that could disagree with it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from avdetect.errors import DataError, MediaError
from avdetect.features.encoders import EncoderSessions, SnippetEmbedding
from avdetect.features.encoding import EncodingOptions, open_embeddings
from avdetect.files import make_folder, replacing
from avdetect.manifest import Manifest

__all__ = [
    "EmbeddingStore",
    "Encoders",
    "ExtractionResult",
    "Origin",
    "VideoEmbeddings",
    "embed",
    "extract",
    "fingerprint",
]

_MAX_STEM_BYTES = 200  # a name may have 255 bytes, and some are added
_FORMAT = "avdetect-embeddings-1"


@dataclass(frozen=True, slots=True, eq=False)
class VideoEmbeddings:
    """A detector's input for a whole video."""

    audio: NDArray[np.float32]
    """``(T, Da)``."""
    visual: NDArray[np.float32]
    """Appearance, then motion, ``(T, Dv)``."""
    present: NDArray[np.bool_]
    """Audio, visual, ``(T, 2)``."""

    @classmethod
    def collect(cls, snippets: Sequence[SnippetEmbedding]) -> Self:
        """Put the snippets of a video together; at least one."""
        return cls(
            np.stack([snippet.audio for snippet in snippets]),
            np.stack([snippet.visual for snippet in snippets]),
            np.array([(snippet.audio_present, snippet.visual_present) for snippet in snippets]),
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of embeddings; they are made again when any of it differs."""

    video: str
    """The resolved path."""
    size_bytes: int
    modified_ns: int
    encoders: str
    """Fingerprint of the encoder graphs and the snippet grid."""

    @classmethod
    def of(cls, video: Path, encoders: str) -> Self:
        """Describe the video as it is now.

        Raises:
            DataError: it is not there.
        """
        try:
            status = video.stat()
        except OSError as error:
            raise DataError(f"cannot read {video}: {error.strerror or error}.") from error
        return cls(os.path.realpath(video), status.st_size, status.st_mtime_ns, encoders)


class EmbeddingStore:
    """A folder of embeddings.

    Args:
        folder: made when the first embeddings are saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, video: Path) -> Path:
        """Name the file of the embeddings of ``video``: two videos of the same name do not meet."""
        digest = hashlib.sha256(os.fsencode(os.path.realpath(video))).hexdigest()[:12]
        stem = os.fsdecode(os.fsencode(video.stem)[:_MAX_STEM_BYTES])
        return self.folder / f"{stem}-{digest}.safetensors"

    def holds(self, origin: Origin) -> bool:
        """Embeddings made from exactly this are there, whole."""
        path = self.path(Path(origin.video))
        try:
            with safetensors.safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
        except (OSError, safetensors.SafetensorError):
            return False
        return metadata.get(_FORMAT) == _describe(origin)

    def save(self, embeddings: VideoEmbeddings, origin: Origin) -> None:
        """Write the embeddings of a video, whole or not at all.

        Raises:
            OutputError: they cannot be written.
        """
        make_folder(self.folder)
        arrays = {"audio": embeddings.audio, "visual": embeddings.visual, "present": embeddings.present}
        with replacing(self.path(Path(origin.video))) as temporary:
            temporary.write_bytes(safetensors.numpy.save(arrays, metadata={_FORMAT: _describe(origin)}))

    def load(self, video: Path) -> VideoEmbeddings:
        """The embeddings of ``video``, whatever they were made from.

        Raises:
            DataError: there are none, or their file is damaged.
        """
        path = self.path(video)
        try:
            arrays = safetensors.numpy.load_file(path)
            return VideoEmbeddings(arrays["audio"], arrays["visual"], arrays["present"])
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise DataError(f"the embeddings of {video} cannot be read from {path}: {error}.") from error


def _describe(origin: Origin) -> str:
    return json.dumps(asdict(origin), sort_keys=True)


@dataclass(frozen=True, slots=True, eq=False)
class Encoders:
    """The makers of embeddings: a bundle without its detector. Sessions may be shared between threads."""

    manifest: Manifest
    sessions: EncoderSessions


@dataclass(frozen=True, slots=True)
class ExtractionResult:
    """The count of videos extracted and kept."""

    num_extracted: int
    num_kept: int
    """They were there already, made from the same."""


def fingerprint(manifest: Manifest) -> str:
    """Hash all that embeddings depend on: the encoder graphs and the grid. The detector may change freely."""
    hashes = {entry.path: entry.sha256 for entry in manifest.files}
    parts = {
        # What its numbers are called changes none of them.
        name: None if part is None else {**part.model_dump(exclude={"graph", "logits"}), "sha256": hashes[part.graph]}
        for name, part in (("visual", manifest.visual), ("motion", manifest.motion), ("audio", manifest.audio))
    }
    text = json.dumps({"hop_s": manifest.hop_s, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def embed(video: Path, encoders: Encoders, *, decoder_threads: int = 1) -> VideoEmbeddings:
    """Make the numbers that the bundle's detector would be fed with for ``video``.

    Raises:
        MediaError: it cannot be opened, or nothing of it could be decoded.
    """
    options = EncodingOptions(decoder_threads=decoder_threads)
    with open_embeddings(video, encoders.manifest, encoders.sessions, options) as embeddings:
        return VideoEmbeddings.collect(list(embeddings))


def extract(
    videos: Sequence[Path],
    encoders: Encoders,
    store: EmbeddingStore,
    *,
    jobs: int | None = None,
    on_done: Callable[[int, int], None] | None = None,
) -> ExtractionResult:
    """Make the embeddings that ``store`` lacks; what was made is kept, however this ends.

    Args:
        videos: files.
        encoders: make the embeddings.
        store: where they go.
        jobs: how many videos at once, in threads (decoder and encoders leave Python's lock alone); as many as there
            are processors by default.
        on_done: called with the number of videos done and the number to do, before the first and after each.

    Raises:
        DataError: some videos could not be read; the message has them all. The others were extracted.
        OutputError: embeddings cannot be written.
    """
    made_by = fingerprint(encoders.manifest)
    origins = [Origin.of(video, made_by) for video in videos]
    missing = [origin for origin in origins if not store.holds(origin)]

    def work(origin: Origin) -> None:
        store.save(embed(Path(origin.video), encoders), origin)

    faults: list[str] = []
    if on_done is not None:
        on_done(0, len(missing))
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1, thread_name_prefix="extract") as pool:
        pending = {pool.submit(work, origin): origin for origin in missing}
        try:
            for number, (origin, error) in enumerate(_outcomes(pending), 1):
                if error is not None:
                    faults.append(f"  {origin.video}: {error}")
                if on_done is not None:
                    on_done(number, len(missing))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is being made is finished, the rest is not begun
            raise
    if faults:
        raise DataError(f"{len(faults)} of {len(videos)} videos could not be used:", *sorted(faults))
    return ExtractionResult(len(missing), len(origins) - len(missing))


def _outcomes(pending: dict[Future[None], Origin]) -> Iterator[tuple[Origin, MediaError | None]]:
    """Yield the outcomes as they come; an error that is not about the video is raised."""
    for future in as_completed(pending):
        error = future.exception()
        if error is not None and not isinstance(error, MediaError):
            raise error
        yield pending[future], error
