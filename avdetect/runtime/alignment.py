"""The alignment's graphs, run: sound -> traces, text -> stories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.manifest import AlignmentSpec
from avdetect.runtime.session import Provider, open_session
from avdetect.text.encoder import Session, TextEncoder
from avdetect.text.phrases import split_phrases
from avdetect.text.scoring import SoundTrace, Story

__all__ = ["AlignmentModel", "SoundStream"]

_CHUNK_SNIPPETS = 64
"""How many snippets of a whole recording the audio graph takes at once."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentModel:
    """Sessions of both graphs, and what embeds phrases. Safe to share between threads: runs keep no state here."""

    spec: AlignmentSpec
    audio: Session
    text: Session
    encoder: TextEncoder

    @staticmethod
    def open(
        spec: AlignmentSpec,
        audio_graph: bytes,
        text_graph: bytes,
        encoder: TextEncoder,
        *,
        provider: Provider,
        num_threads: int,
    ) -> AlignmentModel:
        """Open the graphs.

        Raises:
            ProviderError: onnxruntime did not load the provider.
            BundleError: onnxruntime cannot read a graph.
        """
        audio = open_session(audio_graph, name=spec.audio_graph, provider=provider, num_threads=num_threads)
        text = open_session(text_graph, name=spec.text_graph, provider=provider, num_threads=num_threads)
        return AlignmentModel(spec, audio, text, encoder)

    def story(self, text: str) -> Story:
        """Place ``text`` in the joint space.

        Raises:
            UsageError: it has no words.
        """
        phrases = split_phrases(text)
        if not phrases:
            raise UsageError(f"{text!r} has no words to look for.")
        texts = tuple(phrase.text for phrase in phrases)
        places = np.array([phrase.place for phrase in phrases], np.int64)
        feed = {
            "phrases": self.encoder(texts)[None],
            "places": places[None],
            "told": np.ones((1, len(phrases)), np.bool_),
        }
        vectors, whole = self.text.run(["phrase_vectors", "text_vector"], feed)
        return Story(texts, vectors[0], places, whole[0])

    def trace(self, audio: NDArray[np.float32], present: NDArray[np.bool_]) -> SoundTrace:
        """What a whole recording leaves behind.

        Args:
            audio: the scorer's embeddings, ``(T, audio_dim)``.
            present: ``(T,)``.
        """
        stream = SoundStream(self)
        parts = [
            stream.push(audio[start : start + _CHUNK_SNIPPETS], present[start : start + _CHUNK_SNIPPETS])
            for start in range(0, len(audio), _CHUNK_SNIPPETS)
        ]
        parts.append(stream.flush(audio.shape[1]))
        vectors, salience = (np.concatenate(part) for part in zip(*parts, strict=True))
        return SoundTrace(vectors, salience, present)


class SoundStream:
    """Vectors of a stream, chunk by chunk, each ``lookahead_snippets`` after its snippet."""

    def __init__(self, model: AlignmentModel) -> None:
        self._model = model
        self._early = model.spec.lookahead_snippets
        self._state = {entry.name: np.zeros((1, *entry.shape), entry.dtype) for entry in model.spec.state}

    def push(
        self, audio: NDArray[np.float32], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take the next snippets, ``(T, audio_dim)`` and ``(T,)``; give the vectors and saliences that became known."""
        names = ["vectors", "salience", *(f"{name}_next" for name in self._state)]
        feed = {"audio": audio[None], "present": present[None], **self._state}
        vectors, salience, *state = self._model.audio.run(names, feed)
        self._state = dict(zip(self._state, state, strict=True))
        # The first rows belong to snippets before the stream's start.
        skipped = min(self._early, len(audio))
        self._early -= skipped
        return vectors[0, skipped:], salience[0, skipped:]

    def flush(self, audio_dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The stream has ended: give the rest."""
        ahead = self._model.spec.lookahead_snippets
        if not ahead:
            return np.zeros((0, self._model.spec.joint_dim), np.float32), np.zeros(0, np.float32)
        return self.push(np.zeros((ahead, audio_dim), np.float32), np.zeros(ahead, np.bool_))
