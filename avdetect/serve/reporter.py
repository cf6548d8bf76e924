"""What the engine reports goes to the store first, then to all who want to know."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from avdetect.errors import StoreError
from avdetect.events.event import FeedEvent, FeedGap
from avdetect.serve.feeds.clip_requests import replaced_files
from avdetect.serve.feeds.listener import ClipReady, EngineListener, FeedStatus, ScoredSnippet
from avdetect.serve.feeds.track import NOT_RUNNING, NOT_WATCHED
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.store import Store
from avdetect.serve.store.scores import ScoreKeeper
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.state import ServiceState

__all__ = ["Reporter"]

_NOT_WATCHED_MESSAGE = "The service ran, but did not watch this feed."
_SAME_RUN_S = 15.0
"""A feed that was watched up to so little before the service ended was watched up to its end."""
_NOTE_INTERVAL_S = 5.0
"""What was seen is noted so often: by so much may a gap after a crash begin too early."""
_MAX_UNSTORED = 10_000
"""Reports kept in memory while the disk is full; after that the oldest are lost."""

_MAX_REMEMBERED_EVENTS = 1000

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unstored:
    """Something that waits to be stored."""

    store: Callable[[], None]
    event: FeedEvent | None = None


class Reporter(EngineListener):
    """Listens to the engine, in its thread.

    Args:
        store: where events and gaps are kept.
        dispatcher: told that there is something to deliver.
        metrics: counts.
        state: what pages show.
        sinks_of: the names of the sinks of a feed, and of an event those that want it.
        scores: keeps the scores of all snippets; ``None`` where nobody wants them.
        retry_interval_s: how long to wait before a disk that was full is tried again.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        metrics: Metrics,
        state: ServiceState,
        sinks_of: Callable[[str, FeedEvent | None], Sequence[str]],
        *,
        scores: ScoreKeeper | None = None,
        retry_interval_s: float = 1.0,
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._metrics = metrics
        self._state = state
        self._sinks_of = sinks_of
        self._scores = scores
        self._names = [entry.name for entry in state.classes]
        self._unstored: deque[_Unstored] = deque()
        self._num_lost = 0
        self._retry_interval_s = retry_interval_s
        self._retry_s = 0.0
        self._trouble = ""
        self._gaps: dict[str, int] = {}
        self._statuses: dict[str, FeedStatus] = {}
        self._told: dict[str, str] = {}  # by feed: what the log said last of why it is away
        self._streams: dict[str, tuple[bool | None, bool | None]] = {}
        self._receivers: OrderedDict[str, tuple[str, ...]] = OrderedDict()  # by event: sinks that have heard of it
        self._known_until: dict[str, datetime] = {}
        self._ended: set[str] = set()
        self._noted_s = 0.0

    def resume(self, feeds: Collection[str]) -> dict[str, FeedGap]:
        """Close what the last run left open. To be called once, before the engine runs.

        Args:
            feeds: those that will be watched.

        Returns:
            For those that were watched before: the gap since then, which lasts until the feed's first media.

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
        ran_until = self._store.ran_until()
        for feed, until in self._store.watched().items():
            if feed in feeds and feed not in gaps:
                gaps[feed] = self._missed(feed, min(until, now), ran_until)
        self._known_until = {feed: gap.started_at for feed, gap in gaps.items()}
        self._dispatcher.wake()
        return gaps

    def _missed(self, feed: str, until: datetime, ran_until: datetime | None) -> FeedGap:
        """Report the time in which a feed was not watched, apart by whether the service ran; returns what lasts."""
        if ran_until is not None and (ran_until - until).total_seconds() > _SAME_RUN_S:
            unwatched = FeedGap(feed, NOT_WATCHED, _NOT_WATCHED_MESSAGE, 0.0, until)
            self.on_gap(unwatched)
            self.on_gap_end(replace(unwatched, ended_at=ran_until))
            until = ran_until
        gap = FeedGap(feed, NOT_RUNNING, "The service was not running.", 0.0, until)
        self.on_gap(gap)
        return gap

    def take_up(self, feed: str) -> FeedGap | None:
        """A feed is watched again while the service runs: the gap since it was watched last, if it ever was."""
        until = self._store.watched().get(feed)
        if until is None:
            return None
        return FeedGap(feed, NOT_WATCHED, _NOT_WATCHED_MESSAGE, 0.0, min(until, datetime.now(UTC)))

    def note_watched(self) -> None:
        """Note in the store up to when it is known what was seen of each feed."""
        now = datetime.now(UTC)
        watched = {snapshot.status.feed: snapshot.status for snapshot in self._state.feeds()}
        self._known_until = {
            feed: now if feed in self._gaps and watched[feed].state != "running" else until
            for feed, until in self._known_until.items()
            if feed in watched
        }
        try:
            self._store.note_watched(self._known_until, now, ended=tuple(self._ended))
        except StoreError as error:  # a full disk, known within seconds though nothing happens
            self._set_trouble(str(error))
        else:
            self._ended.clear()
            if not self._unstored:
                self._set_trouble("")

    def close(self) -> None:
        """Store what can be stored at the end."""
        self._store_all()
        if self._scores is not None:
            self._scores.flush()
        if self._unstored:
            _LOG.error("%d reports are lost: the store cannot be written to.", len(self._unstored))

    def on_event(self, event: FeedEvent) -> None:
        """Keep it, deliver it, count it."""
        sinks = self._receivers_of(event)
        self._keep(lambda: self._store.record_event(event, sinks), event)
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
        sinks = self._sinks_of(gap.feed, None)

        def store() -> None:
            self._gaps[gap.feed] = self._store.record_gap(gap, sinks)

        self._keep(store)
        self._told[gap.feed] = gap.message
        _LOG.warning("%s: %s", gap.feed, gap.message, extra=_of(gap.feed))
        self._state.on_gap(gap)

    def on_gap_end(self, gap: FeedGap) -> None:
        """Keep and deliver its end."""
        sinks = self._sinks_of(gap.feed, None)

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
        self._metrics.observe_snippet(scored.feed, scored.latency_s, scores, scored.level_dbfs)
        if self._scores is not None:
            score = scored.score
            present = (score.audio_present, score.visual_present)
            self._scores.add(scored.feed, scored.at_unix_s, score.scores, present)
        is_new = scored.feed not in self._known_until
        self._known_until[scored.feed] = datetime.fromtimestamp(scored.at_unix_s, UTC)
        if is_new:  # at once: should all end now, there was something to be missed
            self.note_watched()
        self._state.on_score(scored)
        if scored.level_dbfs is not None:
            self._dispatcher.level(scored.feed, scored.level_dbfs)

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
            self._ended.add(feed)
        if before is None or before.state != status.state:
            _LOG.info("%s: %s", feed, status.state, extra=_of(feed))
            self._dispatcher.status(feed, status.state == "running")
        if status.message and status.message != self._told.get(feed):
            self._told[feed] = status.message
            _LOG.info("%s: %s", feed, status.message, extra=_of(feed))
        self._tell_streams(status)
        self._state.on_state(status)

    def _tell_streams(self, status: FeedStatus) -> None:
        """Say once what a feed lacks, and again only when that has changed."""
        streams = (status.has_audio, status.has_video)
        if streams == (None, None) or self._streams.get(status.feed) == streams:
            return
        self._streams[status.feed] = streams
        lacking = {(False, True): "sound: what can only be heard", (True, False): "picture: what can only be seen"}
        if streams in lacking:
            _LOG.warning("%s: has no %s is not found", status.feed, lacking[streams], extra=_of(status.feed))

    def on_clip(self, ready: ClipReady) -> None:
        """Keep the names of its files and deliver them; also that there will be none."""
        clip = ready.clip.name if ready.clip else None
        thumbnail = ready.thumbnail.name if ready.thumbnail else None
        failure = None if clip is not None or ready.early else ready.message or "There was nothing to cut."
        if failure is not None:
            _LOG.warning("%s: no clip of an event: %s", ready.feed, failure, extra=_of(ready.feed))
            self._metrics.count_lost_clip(ready.feed)
        elif clip is None and thumbnail is None:
            return

        def store() -> None:
            sinks = self._receivers.get(ready.event_id)
            if sinks is None:
                event = self._store.event(ready.event_id)
                sinks = () if event is None else tuple(self._sinks_of(ready.feed, event))
            self._store.attach_clip(ready.event_id, clip, thumbnail, sinks, failure=failure)
            for path in replaced_files(ready):
                with suppress(OSError):  # retention finds it
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

    def _receivers_of(self, event: FeedEvent) -> tuple[str, ...]:
        """The sinks that want an event, and those that have heard of it when it was another: they hear its end too."""
        before = self._receivers.pop(event.id, ())
        chosen = self._sinks_of(event.feed, None)
        wanted = self._sinks_of(event.feed, event)
        self._receivers[event.id] = tuple(name for name in chosen if name in wanted or name in before)
        while len(self._receivers) > _MAX_REMEMBERED_EVENTS:
            self._receivers.popitem(last=False)
        return self._receivers[event.id]

    def _keep(self, store: Callable[[], None], event: FeedEvent | None = None) -> None:
        """In order, and now if nothing waits."""
        self._unstored.append(_Unstored(store, event))
        if len(self._unstored) == 1:
            self._store_all()
        elif len(self._unstored) > _MAX_UNSTORED:
            self._make_room()
        self._tell_trouble()

    def _make_room(self) -> None:
        """Lose the oldest report, but rather one that a later report of its event makes needless."""
        at = next((at for at, kept in enumerate(self._unstored) if kept.event and kept.event.stage == "updated"), 0)
        del self._unstored[at]
        self._num_lost += 1
        self._metrics.count_lost_report()

    def _store_all(self) -> None:
        try:
            while self._unstored:
                self._unstored[0].store()
                self._unstored.popleft()
        except StoreError as error:
            self._retry_s = time.monotonic() + self._retry_interval_s
            self._set_trouble(str(error))
        else:
            self._set_trouble("")
        self._tell_trouble()
        self._dispatcher.wake()

    def _set_trouble(self, message: str) -> None:
        """Why the store cannot be written to; empty where it can."""
        if message and not self._trouble:
            _LOG.error("%s", message)
        elif self._trouble and not message:
            _LOG.info("the store can be written to again; reports lost meanwhile: %d", self._num_lost)
            self._num_lost = 0
        self._trouble = message
        self._state.set_store_trouble(message)
        self._metrics.set_writable(not message)

    def _tell_trouble(self) -> None:
        """What the page and the probes say of reports that cannot be stored, and what they show in their place."""
        waiting = {kept.event.id: kept.event for kept in self._unstored if kept.event is not None}
        self._metrics.set_unstored(len(self._unstored))
        self._state.set_unstored(len(self._unstored), waiting)


def _of(feed: str) -> dict[str, str]:
    """For logs of JSON, which name the feed apart."""
    return {"feed": feed}
