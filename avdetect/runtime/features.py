"""Features that were extracted elsewhere -> scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.events.curve import CurveBuilder, ScoreCurve
from avdetect.events.event import SnippetScore
from avdetect.features.encoders import SnippetEmbedding
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.offline_scorer import scorer_for
from avdetect.stage import through
from avdetect.timebase import snippet_span

__all__ = ["score_features"]

_HEADS = ("scores", "audio_scores", "visual_scores")


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
    """Of the scores of a snippet's crops."""
    heads = {name: np.mean([getattr(row, name) for row in rows], axis=0) for name in _HEADS}
    return replace(rows[0], **heads)
