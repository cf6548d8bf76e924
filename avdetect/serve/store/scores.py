"""The scores of every snippet, kept for a while: what a detector is calibrated with, beside the answers on the page."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import StoreError
from avdetect.events.curve import ScoreCurve
from avdetect.manifest import Manifest
from avdetect.serve.store.store import ScoreBlock, Store
from avdetect.timebase import Span

__all__ = ["AnsweredSpan", "FeedScores", "ScoreKeeper", "feed_scores"]

_BLOCK_S = 60.0
"""How much a block holds, and how much a crash loses."""
_STEPS = 65535
"""Of a probability: 1.5e-5 apart."""
_MAX_EVENTS = 1_000_000

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A block that is being filled."""

    ends_unix_s: list[float] = field(default_factory=list)
    scores: list[NDArray[np.uint16]] = field(default_factory=list)
    present: list[tuple[bool, bool]] = field(default_factory=list)


class ScoreKeeper:
    """Gathers the fused scores of all feeds, and hands them to the store by the minute; for one thread.

    A day of one feed with ten classes takes about 2 MB. Scores that cannot be stored are lost: they must not hold up
    events.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._hop_s = float(manifest.hop)
        self._columns = _columns_of(manifest)
        self._open: dict[str, _Open] = {}

    def add(self, feed: str, end_unix_s: float, scores: NDArray[np.float32], present: tuple[bool, bool]) -> None:
        """Take the scores of a snippet.

        Args:
            feed: name of the feed.
            end_unix_s: wall-clock time of the snippet's end.
            scores: fused probabilities, ``(classes,)``.
            present: whether there was sound, and a picture.
        """
        block = self._open.setdefault(feed, _Open())
        block.ends_unix_s.append(end_unix_s)
        block.scores.append(np.rint(np.clip(scores, 0.0, 1.0) * _STEPS).astype(np.uint16))
        block.present.append(present)
        if len(block.ends_unix_s) * self._hop_s >= _BLOCK_S:
            self.flush(feed)

    def flush(self, *feeds: str) -> None:
        """Store what was gathered of these feeds; of all where none is named."""
        chosen = feeds or tuple(self._open)
        blocks = [self._packed(feed, self._open.pop(feed)) for feed in chosen if feed in self._open]
        try:
            if blocks:
                self._store.put_scores(blocks)
        except StoreError as error:
            _LOG.warning("scores that were to be kept for calibration are lost: %s", error)

    def _packed(self, feed: str, block: _Open) -> ScoreBlock:
        ends_s = np.array(block.ends_unix_s, np.float64)
        scores = np.stack(block.scores)
        present = np.array(block.present, np.uint8)
        # By class, so that neighbours are alike.
        data = zlib.compress(ends_s.tobytes() + present.tobytes() + np.ascontiguousarray(scores.T).tobytes())
        start, end = (datetime.fromtimestamp(at, UTC) for at in (ends_s[0] - self._hop_s, ends_s[-1]))
        return ScoreBlock(feed, start, end, self._columns, len(ends_s), data)


@dataclass(frozen=True, slots=True)
class AnsweredSpan:
    """When an event was, on the clock of its feed's curve, and what was said of it on the page."""

    class_name: str
    span: Span
    answer: Literal["confirmed", "dismissed"] | None
    """``None`` where nobody has said anything: it is not known whether it happened."""


@dataclass(frozen=True, slots=True)
class FeedScores:
    """All that is kept of the scores of a feed by one bundle."""

    feed: str
    bundle: str
    """Name and version."""
    curve: ScoreCurve
    """Seconds since ``origin``. Fused scores alone are kept: those of single modalities are zeros."""
    origin: datetime
    events: tuple[AnsweredSpan, ...]
    """Those that lie in the curve's time, in order."""

    def spans(self, answer: Literal["confirmed", "dismissed"] | None) -> tuple[AnsweredSpan, ...]:
        """The events that were answered so."""
        return tuple(event for event in self.events if event.answer == answer)


def feed_scores(store: Store) -> Iterator[FeedScores]:
    """The kept scores of every feed, with the events in them and the answers: what ``calibrate`` can be fed from.

    Scores by different bundles, or of different classes, come apart.
    """
    for feed in store.scored_feeds():
        events = store.events(feed=feed, limit=_MAX_EVENTS)[::-1]
        blocks = sorted(store.score_blocks(feed), key=lambda block: (block.columns, block.start))
        for columns, group in groupby(blocks, key=lambda block: block.columns):
            yield _feed_scores(feed, json.loads(columns), list(group), events)


def _feed_scores(feed: str, columns: dict[str, Any], blocks: Sequence[ScoreBlock], events: Sequence[Any]) -> FeedScores:
    classes, hop_s = tuple(columns["classes"]), float(columns["hop_s"])
    parts = [_unpacked(block, len(classes)) for block in blocks]
    ends_s, present, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    ends_s, scores, present = _in_order(ends_s, scores, present, hop_s)
    origin_s = float(ends_s[0]) - hop_s
    end_s = ends_s - origin_s
    start_s = np.maximum(end_s - hop_s, np.concatenate(([0.0], end_s[:-1])))  # clocks are set, a little, all the time
    start_s = np.where(end_s - start_s > 0.9 * hop_s, start_s, end_s - hop_s)
    nothing = np.zeros_like(scores)
    curve = ScoreCurve(feed, classes, tuple(columns["anomaly"]), start_s, end_s, scores, nothing, nothing, present)
    spans = [
        AnsweredSpan(
            event.event.class_name,
            Span(event.started_at.timestamp() - origin_s, event.ended_at.timestamp() - origin_s),
            event.answer,
        )
        for event in events
        if event.ended_at.timestamp() > origin_s and event.started_at.timestamp() < float(ends_s[-1])
    ]
    return FeedScores(feed, columns["bundle"], curve, datetime.fromtimestamp(origin_s, UTC), tuple(spans))


def _in_order(
    ends_s: NDArray[np.float64], scores: NDArray[np.float32], present: NDArray[np.bool_], hop_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]:
    """Without snippets that overlap others, as after a wall clock was set back."""
    order = np.argsort(ends_s, kind="stable")
    kept: list[int] = []
    last_s = -np.inf
    for index in order.tolist():
        if ends_s[index] - last_s > hop_s / 2:
            kept.append(index)
            last_s = float(ends_s[index])
    return ends_s[kept], scores[kept], present[kept]


def _unpacked(
    block: ScoreBlock, num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float32]]:
    """Ends ``(N,)``, what was present ``(N, 2)`` and scores ``(N, classes)`` of a block."""
    count = block.num_snippets
    data = zlib.decompress(block.data)
    ends_s = np.frombuffer(data, np.float64, count)
    present = np.frombuffer(data, np.uint8, 2 * count, offset=8 * count).reshape(count, 2)
    steps = np.frombuffer(data, np.uint16, count * num_classes, offset=10 * count).reshape(num_classes, count)
    return ends_s, present.astype(np.bool_), (steps.T / np.float32(_STEPS)).astype(np.float32)


def _columns_of(manifest: Manifest) -> str:
    columns = {
        "bundle": f"{manifest.name} {manifest.version}",
        "hop_s": float(manifest.hop),
        "classes": [spec.name for spec in manifest.classes],
        "anomaly": [spec.anomaly for spec in manifest.classes],
        "rescaled": [[spec.temperature, spec.bias] for spec in manifest.classes],
    }
    return json.dumps(columns, separators=(",", ":"))
