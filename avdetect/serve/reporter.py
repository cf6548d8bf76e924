"""What the engine reports goes to the store first, then to all who want to know."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from avdetect.errors import StoreError
from avdetect.events.event import FeedEvent, FeedGap
from avdetect.serve.feeds.clip_requests import replaced_files
from avdetect.serve.feeds.listener import ClipReady, EngineListener, FeedStatus, ScoredSnippet
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.store import Store
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.state import ServiceState

__all__ = ["NOT_RUNNING", "Reporter"]

NOT_RUNNING = "not-running"
"""``FeedGap.reason`` of the time between two runs of the service."""
_NOTE_INTERVAL_S = 5.0
"""What was seen is noted so often: by so much may a gap after a crash begin too early."""
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
        self._dispatcher = dispatcher
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
        self._known_until: dict[str, datetime] = {}
        self._noted_s = 0.0

    def resume(self, feeds: Collection[str]) -> dict[str, FeedGap]:
        """Close what the last run left open. To be called once, before the engine runs.

        Args:
            feeds: those that will be watched.

        Returns:
            For those that the last run watched too: the gap since then, which lasts until the feed's first media.

        Raises:
            StoreError: the disk fails.
        """
        now = datetime.now(UTC)
        going_on = {
            gap.feed: (row, gap)
            for row, gap in self._store.open_gaps().items()
            if gap.reason == NOT_RUNNING and gap.feed in feeds  # not even that run saw anything of it
        }
        self._gaps = {feed: row for feed, (row, _) in going_on.items()}
        for event in self._store.close_dangling(now, self._sinks_of, but=self._gaps.values()):
            _LOG.info(
                "%s: %s was open when the service ended last", event.feed, event.event.class_name, extra=_of(event.feed)
            )
        gaps = {feed: gap for feed, (_, gap) in going_on.items()}
        for feed, until in self._store.watched().items():
            if feed in feeds and feed not in gaps:
                gaps[feed] = FeedGap(feed, NOT_RUNNING, "The service was not running.", 0.0, min(until, now))
                self.on_gap(gaps[feed])
        self._known_until = {feed: gap.started_at for feed, gap in gaps.items()}
        self._dispatcher.wake()
        return gaps

    def note_watched(self) -> None:
        """Note in the store up to when it is known what was seen of each feed."""
        now = datetime.now(UTC)
        watched = {snapshot.status.feed: snapshot.status for snapshot in self._state.feeds()}
        self._known_until = {
            feed: now if feed in self._gaps and watched[feed].state != "running" else until
            for feed, until in self._known_until.items()
            if feed in watched
        }
        with suppress(StoreError):  # a full disk: the next note follows, and what must not be lost says more
            self._store.note_watched(self._known_until)

    def on_event(self, event: FeedEvent) -> None:
        """Keep it, deliver it, count it."""
        sinks = self._sinks_of(event.feed)
        self._keep(lambda: self._store.record_event(event, sinks))
        if event.stage == "opened":
            self._metrics.count_event(event.feed, event.event.class_name)
        if event.stage != "updated":
            found = event.event
            _LOG.info(
                "%s: %s %s, confidence %.2f",
                event.feed,
                found.class_name,
                event.stage,
                found.confidence,
                extra=_of(event.feed),
            )
        self._state.on_event(event)

    def on_gap(self, gap: FeedGap) -> None:
        """Keep it and deliver it."""
        sinks = self._sinks_of(gap.feed)

        def store() -> None:
            self._gaps[gap.feed] = self._store.record_gap(gap, sinks)

        self._keep(store)
        _LOG.warning("%s: %s", gap.feed, gap.message, extra=_of(gap.feed))
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
        if gap.ended_at is not None:
            self._known_until[gap.feed] = gap.ended_at
        self._state.on_gap_end(gap)

    def on_score(self, scored: ScoredSnippet) -> None:
        """Measure it and show it."""
        scores = dict(zip(self._names, scored.score.scores.tolist(), strict=True))
        self._metrics.observe_snippet(scored.feed, scored.latency_s, scores)
        is_new = scored.feed not in self._known_until
        self._known_until[scored.feed] = datetime.fromtimestamp(scored.at_unix_s, UTC)
        if is_new:  # at once: should all end now, there was something to be missed
            self.note_watched()
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
        if status.state == "ended":
            self._known_until.pop(feed, None)  # there is no more of it
        if before is None or before.state != status.state:
            _LOG.info("%s: %s", feed, status.state, extra=_of(feed))
            self._dispatcher.status(feed, status.state == "running")
        self._state.on_state(status)

    def on_clip(self, ready: ClipReady) -> None:
        """Keep the names of its files and deliver them."""
        if ready.clip is None and ready.thumbnail is None:
            _LOG.warning("%s: no clip of an event: %s", ready.feed, ready.message, extra=_of(ready.feed))
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
        if time.monotonic() >= self._noted_s + _NOTE_INTERVAL_S:
            self._noted_s = time.monotonic()
            self.note_watched()
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
        self._dispatcher.wake()


def _of(feed: str) -> dict[str, str]:
    """For logs of JSON, which name the feed apart."""
    return {"feed": feed}
