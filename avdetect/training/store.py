"""Embeddings of a data set on disk: a file per video, and in it what it was made from.

A file is written aside and renamed, so that a half-written one never counts as done. What it was made from (the
encoders, the video's size and time of change) is in its metadata: there is no index that could disagree with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.features.encoders import SnippetEmbedding
from avdetect.sinks.atomic import replacing

__all__ = ["EmbeddingStore", "Origin", "VideoEmbeddings"]

_FORMAT = "avdetect-embeddings-1"


@dataclass(frozen=True, slots=True, eq=False)
class VideoEmbeddings:
    """What a detector sees of a whole video."""

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
    """What embeddings were made from; made again when any of it differs."""

    video: str
    """The resolved path."""
    size_bytes: int
    modified_ns: int
    encoders: str
    """Fingerprint of the encoder graphs and the snippet grid."""

    @classmethod
    def of(cls, video: Path, encoders: str) -> Self:
        """As the video is now.

        Raises:
            DataError: it is not there.
        """
        try:
            status = video.stat()
        except OSError as error:
            raise DataError(f"cannot read {video}: {error.strerror or error}.") from error
        return cls(str(video.resolve()), status.st_size, status.st_mtime_ns, encoders)


class EmbeddingStore:
    """A folder of embeddings.

    Args:
        folder: made when the first embeddings are saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, video: Path) -> Path:
        """Where the embeddings of ``video`` are kept: two videos of the same name do not meet."""
        resolved = video.resolve()
        return self.folder / f"{video.stem}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}.safetensors"

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
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays = {"audio": embeddings.audio, "visual": embeddings.visual, "present": embeddings.present}
        with replacing(self.path(Path(origin.video))) as temporary:
            safetensors.numpy.save_file(arrays, temporary, metadata={_FORMAT: _describe(origin)})

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
