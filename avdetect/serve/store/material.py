"""What a service has kept of its feeds, as material to calibrate with.

Around an event that somebody confirmed something happened; around one that nobody answered, nobody knows. Everywhere
else, dismissed events included, nothing happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from avdetect.errors import DataError
from avdetect.events.curve import ScoreCurve
from avdetect.labels.videos import LabelledVideo, TrueEvent
from avdetect.manifest import Manifest
from avdetect.serve.store.scores import AnsweredSpan, FeedScores, feed_scores
from avdetect.serve.store.store import Store
from avdetect.timebase import Span

MARGIN_S = 30.0
"""How far around an event what happens is part of it, or not known."""


def kept_material(path: Path, manifest: Manifest) -> list[tuple[LabelledVideo, ScoreCurve]]:
    """The kept scores of all feeds by the bundle of ``manifest``, in pieces of which it is known what happens in them.

    Args:
        path: the store's file.
        manifest: of the bundle that is to be calibrated: scores by another one say nothing of it.

    Raises:
        StoreError: the store cannot be read.
        DataError: it has no scores by this bundle.
    """
    wanted = f"{manifest.name} {manifest.version}"
    store = Store(path, read_only=True)
    try:
        kept = list(feed_scores(store))
    finally:
        store.close()
    pieces = [piece for one in kept if one.bundle == wanted for piece in pieces_of(one)]
    if not pieces:
        others = ", ".join(sorted({one.bundle for one in kept})) or "none at all"
        raise DataError(
            f"{path} has kept no scores by {wanted} in which it is known what happened; there are {others}."
        )
    return pieces


def pieces_of(kept: FeedScores) -> Iterator[tuple[LabelledVideo, ScoreCurve]]:
    """A feed's scores, cut around its events; without the pieces of which nobody knows."""
    end_s = float(kept.curve.end_s[-1])
    before_s = 0.0
    for cluster in _clusters(kept.events):
        start_s = max(cluster[0].span.start_s - MARGIN_S, before_s)
        stop_s = min(max(event.span.end_s for event in cluster) + MARGIN_S, end_s)
        yield from _piece(kept, before_s, start_s, ())
        if all(event.answer == "confirmed" for event in cluster):
            yield from _piece(kept, start_s, stop_s, cluster)
        elif all(event.answer == "dismissed" for event in cluster):
            yield from _piece(kept, start_s, stop_s, ())
        before_s = stop_s
    yield from _piece(kept, before_s, end_s, ())


def _clusters(events: Sequence[AnsweredSpan]) -> list[list[AnsweredSpan]]:
    """Events whose margins overlap."""
    clusters: list[list[AnsweredSpan]] = []
    end_s = -np.inf
    for event in sorted(events, key=lambda one: one.span):
        if not clusters or event.span.start_s - MARGIN_S > end_s + MARGIN_S:
            clusters.append([])
        clusters[-1].append(event)
        end_s = max(end_s, event.span.end_s)
    return clusters


def _piece(
    kept: FeedScores, start_s: float, stop_s: float, events: Sequence[AnsweredSpan]
) -> Iterator[tuple[LabelledVideo, ScoreCurve]]:
    """The snippets of ``kept`` that begin in ``[start_s, stop_s)``, if there are any, on a clock of their own."""
    curve = kept.curve
    rows = (curve.start_s >= start_s) & (curve.start_s < stop_s)
    if not rows.any():
        return
    origin_s = float(curve.start_s[rows][0])
    # Time that was not watched does not count: snippets follow each other.
    lengths = curve.end_s[rows] - curve.start_s[rows]
    ends = np.cumsum(lengths)
    name = f"{kept.feed} at {kept.origin.isoformat(timespec='seconds')} + {origin_s:.0f} s"
    own = replace(
        curve,
        source=name,
        start_s=ends - lengths,
        end_s=ends,
        scores=curve.scores[rows],
        audio_scores=curve.audio_scores[rows],
        visual_scores=curve.visual_scores[rows],
        present=curve.present[rows],
    )
    spans = [
        (event.class_name, Span(max(event.span.start_s - origin_s, 0.0), max(event.span.end_s - origin_s, 0.0)))
        for event in events
    ]
    true = tuple(TrueEvent(span, class_name, "audio-visual", ((class_name, span),)) for class_name, span in spans)
    truth = LabelledVideo(
        name=name,
        where=name,
        media=Path(name),
        classes=frozenset(class_name for class_name, _ in spans),
        positive=bool(spans),
        events=true,
        duration_s=float(ends[-1]),
    )
    yield truth, own
