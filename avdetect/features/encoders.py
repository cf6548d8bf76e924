"""Snippets -> embeddings, by the bundle's encoder graphs, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import Manifest
from avdetect.snippets.snippet import Snippet, stream_plan
from avdetect.timebase import Span, snippet_span


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

    @property
    def sees(self) -> bool:
        """True if any of the encoders looks at pictures."""
        return self.visual is not None or self.motion is not None


@dataclass(frozen=True, slots=True, eq=False)
class SnippetEmbedding:
    """The input of the detector for one snippet; an absent modality is all zeros."""

    index: int
    span: Span
    audio: NDArray[np.float32]
    """``(Da,)``."""
    visual: NDArray[np.float32]
    """Appearance (zeros if it is not run), then motion, ``(Dv,)``."""
    audio_present: bool
    visual_present: bool


def encode(
    snippets: Sequence[Snippet], manifest: Manifest, sessions: EncoderSessions, *, pad_to: int = 0
) -> list[SnippetEmbedding]:
    """The embeddings of ``snippets``: each encoder runs once, on those that have its modality.

    Args:
        snippets: of any feeds, in any order.
        manifest: of the bundle.
        sessions: its encoder graphs.
        pad_to: fill the batch up with zeros to this many snippets, so that the graphs see few shapes (CUDA graphs and
            TensorRT engines are built per shape); 0 to run them on what is there.
    """
    audio = np.zeros((len(snippets), manifest.audio_dim), np.float32)
    visual = np.zeros((len(snippets), manifest.visual_dim), np.float32)
    heard = [row for row, snippet in enumerate(snippets) if snippet.audio_present]
    seen = [row for row, snippet in enumerate(snippets) if snippet.visual_present]
    if sessions.audio is not None and heard:
        waveforms = np.stack([snippets[row].waveform for row in heard])
        audio[heard] = _run(sessions.audio, {"waveform": waveforms}, pad_to)
    appearance = manifest.visual.embedding_dim if manifest.visual else 0
    if manifest.appearance is not None and sessions.visual is not None and seen:
        num_frames = manifest.appearance.frames_per_snippet
        frames = np.concatenate([snippets[row].frames for row in seen])
        embedded = _run(sessions.visual, {"frames": frames}, pad_to * num_frames)
        visual[seen, :appearance] = embedded.reshape(len(seen), num_frames, -1).mean(axis=1)
    if sessions.motion is not None and seen:
        luma = np.stack([snippets[row].luma for row in seen])
        time_s = np.stack([snippets[row].luma_time_s for row in seen])
        visual[seen, appearance:] = _run(sessions.motion, {"luma": luma, "time_s": time_s}, pad_to)
    return [
        SnippetEmbedding(
            snippet.index, snippet.span, audio[row], visual[row], snippet.audio_present, snippet.visual_present
        )
        for row, snippet in enumerate(snippets)
    ]


def warm_up(manifest: Manifest, sessions: EncoderSessions, max_snippets: int) -> None:
    """Run the encoders on blank batches of every size up to ``max_snippets``.

    onnxruntime keeps memory for each size of batch it has met: from here on, these sizes take no more.
    """
    plan = stream_plan(manifest)
    num_frames = manifest.appearance.frames_per_snippet if manifest.appearance else 0
    blank = Snippet(
        index=0,
        span=snippet_span(0, manifest.hop),
        frames=np.zeros((num_frames, *plan.rgb_size, 3), np.uint8),
        luma=np.zeros((plan.cells_per_snippet + 1, *plan.luma_size), np.uint8),
        luma_time_s=np.zeros(plan.cells_per_snippet + 1, np.float32),
        waveform=np.zeros(manifest.audio.window_samples if manifest.audio else 0, np.float32),
        audio_present=True,
        visual_present=True,
    )
    for num_snippets in range(1, max_snippets + 1):
        for _ in range(2):  # the first run of a size plans its memory, the second takes it as planned
            encode([blank] * num_snippets, manifest, sessions)


def _run(session: Session, inputs: Mapping[str, NDArray[Any]], pad_to: int) -> NDArray[np.float32]:
    """Run a graph on ``(rows, ...)`` inputs, filled up to ``pad_to`` rows, and give back its ``(rows, D)`` output."""
    (rows,) = {array.shape[0] for array in inputs.values()}
    if rows < pad_to:
        inputs = {
            name: np.concatenate([array, np.zeros((pad_to - rows, *array.shape[1:]), array.dtype)])
            for name, array in inputs.items()
        }
    output: NDArray[np.float32] = session.run(["embedding"], inputs)[0]
    return output[:rows]


class SnippetEncoder:
    """Stage: gathers ``batch_snippets`` snippets, then runs ``encode`` on them.

    Args:
        manifest: of the bundle.
        sessions: its encoder graphs.
        batch_snippets: how many to gather.
        fixed_batch: fill the last batch up with zeros, so that the graphs see one shape only.
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
        return encode(snippets, self._manifest, self._sessions, pad_to=self._batch_snippets if self._fixed_batch else 0)
