"""Sound alone -> traces: what an index keeps of a recording. Pictures are not decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avdetect.errors import BundleError, MediaError
from avdetect.features.encoders import EncoderSessions, SnippetEmbedding
from avdetect.features.encoding import EncodingOptions, Progress, open_embeddings
from avdetect.manifest import Manifest
from avdetect.media.source import probe
from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files
from avdetect.runtime.session import open_sessions
from avdetect.runtime.sound_text import SoundModel, SoundStream, alignment_of
from avdetect.text.scoring import Floats, SoundTrace

if TYPE_CHECKING:
    import onnxruntime


_BATCH_SNIPPETS = 16
_CHUNK_SNIPPETS = 64
"""Of the alignment."""
_SNIPPETS_AHEAD = 64
"""Between two threads; without pictures a snippet is 64 kB."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A recording, heard."""

    trace: SoundTrace
    """Of no snippets where it has no sound."""
    end_s: float
    """When the last snippet ends, seconds from the grid's origin."""


@dataclass(frozen=True, slots=True, eq=False)
class Ears:
    """A bundle's audio encoder and the audio side of its alignment. Safe to share between threads."""

    manifest: Manifest
    audio: onnxruntime.InferenceSession
    sound: SoundModel
    notes: tuple[str, ...]
    """What the user should know of how it was loaded."""
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
