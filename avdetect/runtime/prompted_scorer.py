"""The detector's scores and those of prompts, joined by snippet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avdetect.events.event import SnippetScore
from avdetect.events.rescale import Rescaling
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import ClassSpec
from avdetect.runtime.alignment import SoundModel, SoundStream
from avdetect.stage import Stage
from avdetect.text.scoring import SoundTrace, relevance

__all__ = ["PromptedScorer"]


class PromptedScorer:
    """Stage: what ``detector`` makes of the snippets, with the scores of prompted classes behind.

    The relevance of the sound to a prompt is both the score and the audio score of its class; nothing is seen of it,
    and without sound it is 0. The two look ahead differently far: what is known first waits for the other.

    Args:
        detector: gives one score for each snippet, in order.
        model: of the bundle.
        classes: the prompted ones.
        audio_dim: width of the audio embeddings.
        chunk_snippets: how many snippets the alignment's graph takes at once; 1 for live feeds, where waiting costs
            latency.
    """

    def __init__(
        self,
        detector: Stage[SnippetEmbedding, SnippetScore],
        model: SoundModel,
        classes: Sequence[ClassSpec],
        *,
        audio_dim: int,
        chunk_snippets: int,
    ) -> None:
        self._detector = detector
        self._spec = model.spec
        self._stream = SoundStream(model)
        self._audio_dim = audio_dim
        self._chunk_snippets = chunk_snippets
        self._prompts = np.array([spec.prompt.vector for spec in classes if spec.prompt is not None], np.float32)
        self._rescaling = Rescaling.of(classes)
        self._unheard: list[SnippetEmbedding] = []
        self._present: deque[bool] = deque()  # of the snippets that are heard, or are to be, and not known yet
        self._detected: deque[SnippetScore] = deque()
        self._prompted: deque[NDArray[np.float32]] = deque()

    def push(self, item: SnippetEmbedding) -> Iterable[SnippetScore]:
        """Take the next snippet's embeddings; give back the scores that are now known."""
        self._detected.extend(self._detector.push(item))
        self._unheard.append(item)
        self._present.append(item.audio_present)
        if len(self._unheard) >= self._chunk_snippets:
            self._hear()
        return self._joined()

    def flush(self) -> Iterable[SnippetScore]:
        """The stream has ended: give back the rest."""
        self._detected.extend(self._detector.flush())
        if self._unheard:
            self._hear()
        self._take(*self._stream.flush(self._audio_dim))
        return self._joined()

    def _hear(self) -> None:
        chunk, self._unheard = self._unheard, []
        audio = np.stack([item.audio for item in chunk])
        self._take(*self._stream.push(audio, np.array([item.audio_present for item in chunk])))

    def _take(self, vectors: NDArray[np.float32], salience: NDArray[np.float32]) -> None:
        """Compare with the prompts what has become known."""
        present = np.array([self._present.popleft() for _ in range(len(vectors))], np.bool_)
        found = relevance(SoundTrace(vectors, salience, present), self._prompts, self._spec)
        self._prompted.extend(self._rescaling.apply(found.T))

    def _joined(self) -> list[SnippetScore]:
        """The snippets of which both sides are known."""
        num_known = min(len(self._detected), len(self._prompted))
        return [_with(self._detected.popleft(), self._prompted.popleft()) for _ in range(num_known)]


def _with(score: SnippetScore, prompted: NDArray[np.float32]) -> SnippetScore:
    return replace(
        score,
        scores=np.concatenate([score.scores, prompted]),
        audio_scores=np.concatenate([score.audio_scores, prompted]),
        visual_scores=np.concatenate([score.visual_scores, np.zeros_like(prompted)]),
    )
