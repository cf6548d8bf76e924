"""Snippets -> embeddings, by the bundle's encoder graphs, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import Manifest
from avdetect.snippets.snippet import Snippet
from avdetect.timebase import Span

__all__ = ["EncoderSessions", "SnippetEmbedding", "SnippetEncoder"]


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used."""

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Sequence[Any]:
        """Run the graph."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderSessions:
    """The encoder graphs; ``None`` where the bundle has no such encoder, or does not run it."""

    visual: Session | None
    motion: Session | None
    audio: Session | None


@dataclass(frozen=True, slots=True, eq=False)
class SnippetEmbedding:
    """What the detector sees of one snippet; an absent modality is all zeros."""

    index: int
    span: Span
    audio: NDArray[np.float32]
    """``(Da,)``."""
    visual: NDArray[np.float32]
    """Appearance (zeros if it is not run), then motion, ``(Dv,)``."""
    audio_present: bool
    visual_present: bool


class SnippetEncoder:
    """Stage: gathers ``batch_snippets`` snippets, runs each encoder once on those that have its modality.

    Args:
        manifest: of the bundle.
        sessions: its encoder graphs.
        batch_snippets: how many to gather; 1 for live feeds, where waiting costs latency.
        fixed_batch: fill the last batch up with zeros, so that the graphs see one shape only (CUDA graphs and
            TensorRT engines are built per shape).
    """

    def __init__(
        self,
        manifest: Manifest,
        sessions: EncoderSessions,
        *,
        batch_snippets: int = 8,
        fixed_batch: bool = False,
    ) -> None:
        self._manifest = manifest
        self._sessions = sessions
        self._batch_snippets = batch_snippets
        self._fixed_batch = fixed_batch
        self._waiting: list[Snippet] = []

    def push(self, item: Snippet) -> Iterable[SnippetEmbedding]:
        """Take a snippet; give back a batch of embeddings once enough have come together."""
        self._waiting.append(item)
        return self.flush() if len(self._waiting) >= self._batch_snippets else ()

    def flush(self) -> Iterable[SnippetEmbedding]:
        """Encode what is waiting."""
        snippets, self._waiting = self._waiting, []
        if not snippets:
            return ()
        audio = np.zeros((len(snippets), self._manifest.audio_dim), np.float32)
        visual = np.zeros((len(snippets), self._manifest.visual_dim), np.float32)
        heard = [row for row, snippet in enumerate(snippets) if snippet.audio_present]
        seen = [row for row, snippet in enumerate(snippets) if snippet.visual_present]
        if self._sessions.audio is not None and heard:
            waveforms = np.stack([snippets[row].waveform for row in heard])
            audio[heard] = self._run(self._sessions.audio, {"waveform": waveforms}, 1)
        appearance = self._manifest.visual.embedding_dim if self._manifest.visual else 0
        if self._manifest.appearance is not None and self._sessions.visual is not None and seen:
            num_frames = self._manifest.appearance.frames_per_snippet
            frames = np.concatenate([snippets[row].frames for row in seen])
            embedded = self._run(self._sessions.visual, {"frames": frames}, num_frames)
            visual[seen, :appearance] = embedded.reshape(len(seen), num_frames, -1).mean(axis=1)
        if self._sessions.motion is not None and seen:
            luma = np.stack([snippets[row].luma for row in seen])
            time_s = np.stack([snippets[row].luma_time_s for row in seen])
            visual[seen, appearance:] = self._run(self._sessions.motion, {"luma": luma, "time_s": time_s}, 1)
        return [
            SnippetEmbedding(
                snippet.index,
                snippet.span,
                audio[row],
                visual[row],
                snippet.audio_present,
                snippet.visual_present,
            )
            for row, snippet in enumerate(snippets)
        ]

    def _run(self, session: Session, inputs: Mapping[str, NDArray[Any]], rows_per_snippet: int) -> NDArray[np.float32]:
        """Run a graph on ``(rows, ...)`` inputs and give back its ``(rows, D)`` output."""
        (rows,) = {array.shape[0] for array in inputs.values()}
        full = self._batch_snippets * rows_per_snippet
        if self._fixed_batch and rows < full:
            inputs = {
                name: np.concatenate([array, np.zeros((full - rows, *array.shape[1:]), array.dtype)])
                for name, array in inputs.items()
            }
        output: NDArray[np.float32] = session.run(["embedding"], inputs)[0]
        return output[:rows]
