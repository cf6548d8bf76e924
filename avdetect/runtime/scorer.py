"""Embeddings, or features that were made elsewhere -> one score per snippet, by the detector, streaming or offline."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import BundleError, DataError, MediaError
from avdetect.events.curve import CurveBuilder, Rescaling, ScoreCurve
from avdetect.events.event import SnippetScore
from avdetect.features.encoders import SnippetEmbedding
from avdetect.runtime.bundle import Bundle
from avdetect.stage import Stage, through
from avdetect.timebase import Span, snippet_span

_SCORES = ("scores", "audio_scores", "visual_scores")


class StreamingScorer:
    """Stage: runs the detector graph over a stream of any length at a constant cost per snippet.

    The graph is called with one of the manifest's chunk sizes at a time. Its outputs run ``lookahead_snippets``
    behind its inputs: row ``k`` belongs to snippet ``k - lookahead_snippets``, and at the end of the stream as many
    absent snippets push the last ones out.

    Args:
        bundle: whose detector to run.
        max_chunk_snippets: the largest chunk to wait for; 1 for live feeds, where waiting costs latency.

    Raises:
        BundleError: the detector has the offline form.
    """

    def __init__(self, bundle: Bundle, *, max_chunk_snippets: int | None = None) -> None:
        spec = bundle.manifest.require_detector()
        if spec.form == "offline":
            raise BundleError(
                f"{bundle.path}: its detector has the offline form, which needs the whole of a source: it scores "
                "files, not live feeds. Export the network with --left-context and --lookahead."
            )
        self._bundle = bundle
        self._session = bundle.detector
        sizes = [size for size in spec.chunk_snippets if max_chunk_snippets is None or size <= max_chunk_snippets]
        self._sizes = sorted(sizes or [min(spec.chunk_snippets)], reverse=True)
        self._state = {entry.name: np.zeros((1, *entry.shape), np.dtype(entry.dtype)) for entry in spec.state}
        self._rescaling = Rescaling.of(bundle.manifest.detected_classes)
        self._outputs = [*_SCORES, *(f"{entry.name}_next" for entry in spec.state)]
        self._waiting: list[SnippetEmbedding] = []
        self._unscored: deque[SnippetEmbedding] = deque()
        self._rows_to_drop = spec.lookahead_snippets

    def push(self, item: SnippetEmbedding) -> Iterable[SnippetScore]:
        """Take the next snippet's embeddings; give back the scores that are now known."""
        self._waiting.append(item)
        return list(self._run(self._sizes[0])) if len(self._waiting) >= self._sizes[0] else ()

    def flush(self) -> Iterable[SnippetScore]:
        """The stream has ended: score what is waiting, and what waits for lookahead."""
        scores = list(self._run_all())
        spec = self._bundle.manifest.require_detector()
        self._waiting = [self._absent() for _ in range(spec.lookahead_snippets)]
        scores.extend(self._run_all())
        return scores

    def _run_all(self) -> Iterator[SnippetScore]:
        while self._waiting:
            fitting = (size for size in self._sizes if size <= len(self._waiting))
            yield from self._run(next(fitting, len(self._waiting)))

    def _run(self, size: int) -> Iterator[SnippetScore]:
        chunk, self._waiting = self._waiting[:size], self._waiting[size:]
        results = self._session.run(
            self._outputs,
            {
                "audio": np.stack([item.audio for item in chunk])[None],
                "visual": np.stack([item.visual for item in chunk])[None],
                "present": np.array([[(item.audio_present, item.visual_present) for item in chunk]]),
                **self._state,
            },
        )
        self._state = dict(zip(self._state, results[len(_SCORES) :], strict=True))
        self._unscored.extend(chunk)
        fused, heard, seen = (self._rescaling.apply(array[0]) for array in results[: len(_SCORES)])
        dropped = min(self._rows_to_drop, size)
        self._rows_to_drop -= dropped
        for row in range(dropped, size):
            yield score_of(self._unscored.popleft(), fused[row], heard[row], seen[row])

    def _absent(self) -> SnippetEmbedding:
        """Return an absent snippet, which the detector is given after the end of a stream."""
        last = self._unscored[-1] if self._unscored else None
        return SnippetEmbedding(
            index=-1,
            span=last.span if last else Span(0.0, 0.0),
            audio=np.zeros(self._bundle.audio_dim, np.float32),
            visual=np.zeros(self._bundle.visual_dim, np.float32),
            audio_present=False,
            visual_present=False,
        )


def score_of(
    item: SnippetEmbedding, fused: NDArray[np.float32], heard: NDArray[np.float32], seen: NDArray[np.float32]
) -> SnippetScore:
    """The score of ``item``, from its row of each output, ``(classes,)``.

    A network has a prior, and says it of what is absent; a score is of what was there.
    """
    return SnippetScore(
        item.index,
        item.span,
        fused,
        heard if item.audio_present else np.zeros_like(heard),
        seen if item.visual_present else np.zeros_like(seen),
        item.audio_present,
        item.visual_present,
    )


_ALIGNMENT_CHUNK_SNIPPETS = 32
"""Number of snippets that the alignment takes at once, for files."""


def scorer_for(bundle: Bundle) -> Stage[SnippetEmbedding, SnippetScore]:
    """Return the scorer for a whole source, in the form that the bundle has."""
    offline = bundle.manifest.require_detector().form == "offline"
    detector = OfflineScorer(bundle) if offline else StreamingScorer(bundle)
    return _with_prompts(detector, bundle, chunk_snippets=_ALIGNMENT_CHUNK_SNIPPETS)


def live_scorer_for(bundle: Bundle) -> Stage[SnippetEmbedding, SnippetScore]:
    """Return the scorer for a live feed: each score comes as soon as its lookahead is there.

    Raises:
        BundleError: the detector has the offline form.
    """
    return _with_prompts(StreamingScorer(bundle, max_chunk_snippets=1), bundle, chunk_snippets=1)


def _with_prompts(
    detector: Stage[SnippetEmbedding, SnippetScore], bundle: Bundle, *, chunk_snippets: int
) -> Stage[SnippetEmbedding, SnippetScore]:
    if bundle.alignment is None:
        return detector
    from avdetect.runtime.prompts import PromptedScorer  # only where a class is prompted: it takes time to import

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


def score_features(
    audio: NDArray[np.floating], visual: NDArray[np.floating], *, bundle: Bundle, source: str = "features"
) -> ScoreCurve:
    """Score one video by its features.

    Args:
        audio: ``(T, Da)``, a row per snippet.
        visual: ``(T, Dv)``, or ``(crops, T, Dv)`` for several crops of each picture, whose scores are averaged.
        bundle: whose detector to run; its hop says how long a snippet is.
        source: what the curve is to be called.

    Raises:
        DataError: the features do not go together, or are not those that the detector takes.
        MediaError: they are too many to be looked at together, in the offline form.
    """
    crops = visual[None] if visual.ndim == 2 else visual
    _check(audio, crops, bundle, source)
    heard, seen = audio.astype(np.float32), crops.astype(np.float32)
    manifest = bundle.manifest
    builder = CurveBuilder(source, manifest.class_names, [spec.anomaly for spec in manifest.classes])
    scored = (list(through(_embeddings(heard, crop, bundle), scorer_for(bundle))) for crop in seen)
    for rows in zip(*scored, strict=True):
        builder.add(_mean(rows))
    return builder.build()


def _check(audio: NDArray[np.floating], crops: NDArray[np.floating], bundle: Bundle, source: str) -> None:
    if audio.ndim != 2 or crops.ndim != 3 or crops.shape[:1] == (0,) or audio.shape[0] != crops.shape[1]:
        raise DataError(
            f"{source}: expected as many rows of audio as of visual features, (T, Da) and (T, Dv) or (crops, T, Dv), "
            f"got {audio.shape} and {crops.shape}."
        )
    for name, found, wanted in (
        ("audio", audio.shape[-1], bundle.audio_dim),
        ("visual", crops.shape[-1], bundle.visual_dim),
    ):
        if found != wanted:
            raise DataError(f"{source}: {found} {name} features per snippet, {bundle.name} takes {wanted}.")


def _embeddings(audio: NDArray[np.float32], visual: NDArray[np.float32], bundle: Bundle) -> Iterator[SnippetEmbedding]:
    hop = bundle.manifest.hop
    for index, (heard, seen) in enumerate(zip(audio, visual, strict=True)):
        yield SnippetEmbedding(index, snippet_span(index, hop), heard, seen, audio_present=True, visual_present=True)


def _mean(rows: tuple[SnippetScore, ...]) -> SnippetScore:
    """Return the mean of the scores of a snippet's crops."""
    heads = {name: np.mean([getattr(row, name) for row in rows], axis=0) for name in _SCORES}
    return replace(rows[0], **heads)
