"""The embeddings of a whole source -> one score per snippet, by a detector of the offline form."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import MediaError
from avdetect.events.event import SnippetScore
from avdetect.events.rescale import Rescaling
from avdetect.features.encoders import SnippetEmbedding
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.scorer import StreamingScorer, score_of
from avdetect.stage import Stage

__all__ = ["OfflineScorer", "live_scorer_for", "scorer_for"]


_ALIGNMENT_CHUNK_SNIPPETS = 32
"""Of files."""


def scorer_for(bundle: Bundle) -> Stage[SnippetEmbedding, SnippetScore]:
    """What scores a source from its beginning to its end, in the form that the bundle has."""
    offline = bundle.manifest.detector.form == "offline"
    detector = OfflineScorer(bundle) if offline else StreamingScorer(bundle)
    return _with_prompts(detector, bundle, chunk_snippets=_ALIGNMENT_CHUNK_SNIPPETS)


def live_scorer_for(bundle: Bundle) -> Stage[SnippetEmbedding, SnippetScore]:
    """What scores a live feed: each score comes as soon as its lookahead is there.

    Raises:
        BundleError: the detector has the offline form.
    """
    return _with_prompts(StreamingScorer(bundle, max_chunk_snippets=1), bundle, chunk_snippets=1)


def _with_prompts(
    detector: Stage[SnippetEmbedding, SnippetScore], bundle: Bundle, *, chunk_snippets: int
) -> Stage[SnippetEmbedding, SnippetScore]:
    if bundle.alignment is None:
        return detector
    from avdetect.runtime.prompted_scorer import (
        PromptedScorer,
    )  # only where a class is prompted: it takes time to import

    classes = bundle.manifest.prompted_classes
    return PromptedScorer(
        detector, bundle.alignment, classes, audio_dim=bundle.audio_dim, chunk_snippets=chunk_snippets
    )


class OfflineScorer:
    """Stage: gathers the embeddings of a source, and runs the detector graph once, at its end.

    Every snippet may look at every other, so memory grows with the square of the length.

    Args:
        bundle: whose detector to run.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._rescaling = Rescaling.of(bundle.manifest.detected_classes)
        self._snippets: list[SnippetEmbedding] = []

    def push(self, item: SnippetEmbedding) -> Iterable[SnippetScore]:
        """Take the next snippet's embeddings; nothing is known yet."""
        self._snippets.append(item)
        return ()

    def flush(self) -> Iterable[SnippetScore]:
        """The source has ended: score all of it.

        Raises:
            MediaError: it is too long for the memory there is.
        """
        snippets, self._snippets = self._snippets, []
        if not snippets:
            return
        outputs = self._run(
            {
                "audio": np.stack([item.audio for item in snippets])[None],
                "visual": np.stack([item.visual for item in snippets])[None],
                "present": np.array([[(item.audio_present, item.visual_present) for item in snippets]]),
            }
        )
        fused = outputs["scores"]
        # A graph that tells no modalities apart says the same of both.
        heard, seen = outputs.get("audio_scores", fused), outputs.get("visual_scores", fused)
        for row, item in enumerate(snippets):
            yield score_of(item, fused[row], heard[row], seen[row])

    def _run(self, inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """The graph's scores by name, each ``(snippets, classes)``; it is given those inputs that it has."""
        session = self._bundle.detector
        taken = {node.name: inputs[node.name] for node in session.get_inputs()}
        names = [node.name for node in session.get_outputs() if node.name.endswith("scores")]
        try:
            results = session.run(names, taken)
        except Exception as error:
            if "allocate" not in str(error).lower():
                raise
            raise MediaError(
                f"{inputs['audio'].shape[1]} snippets at once do not fit into memory: score a part of the source "
                "(--start, --duration), or export the network with --left-context and --lookahead."
            ) from error
        return {name: self._rescaling.apply(array[0]) for name, array in zip(names, results, strict=True)}
