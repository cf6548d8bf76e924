"""What the engine reports goes to the store first, then to all who want to know."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from avdetect.errors import StoreError
from avdetect.events.feed_event import FeedEvent, FeedGap
from avdetect.serve.clip_requests import replaced_files
from avdetect.serve.delivery import Dispatcher
from avdetect.serve.listener import ClipReady, EngineListener, FeedStatus, ScoredSnippet
from avdetect.serve.metrics import Metrics
from avdetect.serve.state import ServiceState
from avdetect.serve.store import Store

__all__ = ["Reporter"]

_MAX_UNSTORED = 10_000
"""Reports kept in memory while the disk is full; after that the oldest are lost."""

_LOG = logging.getLogger(__name__)


class Reporter(EngineListener):
    """Listens to the engine, in its thread.

    Args:
        store: where events and gaps are kept.
        dispatcher: told that there is something to deliver.
        metrics: counts.
        state: what pages show.
        sinks_of: the names of the sinks of a feed.
        retry_interval_s: how long to wait before a disk that was full is tried again.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        metrics: Metrics,
        state: ServiceState,
        sinks_of: Callable[[str], Sequence[str]],
        *,
        retry_interval_s: float = 1.0,
    ) -> None:
        self.dispatcher = dispatcher
        self._store = store
        self._metrics = metrics
        self._state = state
        self._sinks_of = sinks_of
        self._names = [entry.name for entry in state.classes]
        self._unstored: deque[Callable[[], None]] = deque(maxlen=_MAX_UNSTORED)
        self._retry_interval_s = retry_interval_s
        self._retry_s = 0.0
        self._gaps: dict[str, int] = {}
        self._statuses: dict[str, FeedStatus] = {}

    def on_event(self, event: FeedEvent) -> None:
        """Keep it, deliver it, count it."""
        sinks = self._sinks_of(event.feed)
        self._keep(lambda: self._store.record_event(event, sinks))
        if event.stage == "opened":
            self._metrics.count_event(event.feed, event.event.label)
        if event.stage != "updated":
            found = event.event
            _LOG.info("%s: %s %s, confidence %.2f", event.feed, found.label, event.stage, found.confidence)
        self._state.on_event(event)

    def on_gap(self, gap: FeedGap) -> None:
        """Keep it and deliver it."""
        sinks = self._sinks_of(gap.feed)

        def store() -> None:
            self._gaps[gap.feed] = self._store.record_gap(gap, sinks)

        self._keep(store)
        _LOG.warning("%s: %s", gap.feed, gap.message)
        self._state.on_gap(gap)

    def on_gap_end(self, gap: FeedGap) -> None:
        """Keep and deliver its end."""
        sinks = self._sinks_of(gap.feed)

        def store() -> None:
            row = self._gaps.get(gap.feed)
            if row is not None and gap.ended_at is not None:
                self._store.end_gap(row, gap.ended_at, gap.num_dropped_snippets, sinks)
                del self._gaps[gap.feed]

        self._keep(store)
        self._state.on_gap_end(gap)

    def on_score(self, scored: ScoredSnippet) -> None:
        """Measure it and show it."""
        scores = dict(zip(self._names, scored.score.scores.tolist(), strict=True))
        self._metrics.observe_snippet(scored.feed, scored.latency_s, scores)
        self._state.on_score(scored)

    def on_state(self, status: FeedStatus) -> None:
        """Count reconnects and drops, tell the sinks, show it."""
        feed = status.feed
        before = self._statuses.get(feed)
        self._statuses[feed] = status
        if status.state == "stopped":
            self._metrics.forget(feed)
            del self._statuses[feed]
        else:
            self._metrics.set_up(feed, status.state == "running")
            if before is not None and status.num_reconnects > before.num_reconnects:
                self._metrics.count_reconnect(feed)
            if before is not None and status.num_dropped_snippets > before.num_dropped_snippets:
                self._metrics.count_drop(feed, status.num_dropped_snippets - before.num_dropped_snippets)
        if before is None or before.state != status.state:
            _LOG.info("%s: %s", feed, status.state)
            self.dispatcher.status(feed, status.state == "running")
        self._state.on_state(status)

    def on_clip(self, ready: ClipReady) -> None:
        """Keep the names of its files and deliver them."""
        if ready.clip is None and ready.thumbnail is None:
            _LOG.warning("%s: no clip of an event: %s", ready.feed, ready.message)
            return
        clip = ready.clip.name if ready.clip else None
        thumbnail = ready.thumbnail.name if ready.thumbnail else None
        sinks = self._sinks_of(ready.feed)

        def store() -> None:
            self._store.attach_clip(ready.event_id, clip, thumbnail, sinks)
            for path in replaced_files(ready):
                path.unlink(missing_ok=True)

        self._keep(store)
        self._state.on_clip(ready)

    def on_turn(self) -> None:
        """Try again what could not be stored."""
        if self._unstored and time.monotonic() >= self._retry_s:
            self._store_all()
        self._state.on_turn()

    def _keep(self, store: Callable[[], None]) -> None:
        """In order, and now if nothing waits."""
        self._unstored.append(store)
        if len(self._unstored) == 1:
            self._store_all()

    def _store_all(self) -> None:
        try:
            while self._unstored:
                self._unstored[0]()
                self._unstored.popleft()
        except StoreError as error:
            self._retry_s = time.monotonic() + self._retry_interval_s
            _LOG.error("%s %d reports wait.", error, len(self._unstored))
        self.dispatcher.wake()
