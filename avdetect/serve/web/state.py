"""What the web page and the probes see of a running service: thread-safe, bounded, and without the media."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from avdetect.events.event import FeedEvent, FeedGap
from avdetect.manifest import Manifest
from avdetect.serve.feeds.listener import ClipReady, FeedStatus, ScoredSnippet
from avdetect.serve.feeds.live_feed import FeedSpec

__all__ = ["Change", "ChangeKind", "ClassTitle", "FeedSnapshot", "ScoreRow", "ServiceState", "Subscription"]

HISTORY_S = 300.0
"""How far back the scores of a feed are kept."""
MAX_ROWS = 3000
"""Of a feed, should the wall clock be set back."""
MAX_PENDING_CHANGES = 2000
"""For one subscriber; when it does not keep up, the oldest go: scores of 16 feeds for more than a minute."""
ALIVE_WITHIN_S = 10.0
"""The engine reports at least once a second; after a silence as long as this it is not healthy."""

ChangeKind = Literal["score", "event", "gap", "state", "clip", "answer"]


@dataclass(frozen=True, slots=True)
class ClassTitle:
    """A class of events."""

    name: str
    title: str
    """For people."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The scores of one snippet; probabilities to four places, one for each class of the bundle."""

    sequence: int
    """Of the change that reported it: grows from row to row."""
    at_unix_s: float
    """The snippet's end."""
    fused: tuple[float, ...]
    audio: tuple[float, ...] | None
    """``None`` where nothing was heard."""
    visual: tuple[float, ...] | None
    """``None`` where nothing was seen."""
    level_dbfs: float | None = None
    """How loud it was; ``None`` where nothing was heard."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sequence": self.sequence,
            "at": round(self.at_unix_s, 3),
            "fused": self.fused,
            "audio": self.audio,
            "visual": self.visual,
            "level_dbfs": self.level_dbfs,
        }


@dataclass(frozen=True, slots=True)
class FeedSnapshot:
    """A feed at one moment."""

    status: FeedStatus
    classes: tuple[ClassTitle, ...]
    """Those whose events are wanted."""
    last_score_unix_s: float | None
    """When the last score came; ``None`` before the first."""
    latency_s: float | None
    """Of that score."""
    level_dbfs: float | None
    """How loud it was then; ``None`` without sound."""
    thresholds: Mapping[str, float]
    """From which probability on something is an event now, by class; a class that is not looked for now is missing."""
    chosen: frozenset[str]
    """The classes whose threshold was set on the page or through a broker."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.status.as_dict(),
            "classes": [{"name": entry.name, "title": entry.title} for entry in self.classes],
            "last_score_at": self.last_score_unix_s,
            "latency_s": None if self.latency_s is None else round(self.latency_s, 3),
            "level_dbfs": self.level_dbfs,
            "thresholds": {label: round(value, 4) for label, value in self.thresholds.items()},
            "chosen_thresholds": sorted(self.chosen),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """Something that has happened, for server-sent events."""

    sequence: int
    """Grows by one with each change of any feed."""
    kind: ChangeKind
    feed: str
    body: dict[str, Any]
    """For JSON: what ``as_dict`` of the row, event, gap or status says; for a clip its event's ``id``, ``clip`` and
    ``thumbnail``, file names or ``None``; for an answer its event's ``id`` and ``answer``."""


class Subscription:
    """The changes since it was made; a context manager.

    ``wake`` is called, in the engine's thread, after something was added; it must return at once
    (``loop.call_soon_threadsafe(event.set)``, ``threading.Event().set``).
    """

    def __init__(self, wake: Callable[[], None], leave: Callable[[Subscription], None]) -> None:
        self._pending: deque[Change] = deque(maxlen=MAX_PENDING_CHANGES)
        self._wake = wake
        self._leave = leave

    def take(self) -> list[Change]:
        """All that has come since the last call, oldest first; a jump of ``sequence`` tells that some were lost."""
        changes = []
        while self._pending:
            changes.append(self._pending.popleft())
        return changes

    def put(self, change: Change) -> None:
        """Add a change."""
        self._pending.append(change)
        self._wake()

    def close(self) -> None:
        """No more changes."""
        self._leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Feed:
    def __init__(self, status: FeedStatus, classes: tuple[ClassTitle, ...]) -> None:
        self.status = status
        self.classes = classes
        self.rows: deque[ScoreRow] = deque(maxlen=MAX_ROWS)
        self.last_score_unix_s: float | None = None
        self.latency_s: float | None = None
        self.level_dbfs: float | None = None
        self.spec: FeedSpec | None = None
        self.chosen: frozenset[str] = frozenset()

    def snapshot(self, classes: Sequence[ClassTitle], now: datetime) -> FeedSnapshot:
        rules = () if self.spec is None else self.spec.rules_at(now)
        thresholds = {entry.name: rule.on for entry, rule in zip(classes, rules, strict=False) if rule is not None}
        return FeedSnapshot(
            self.status, self.classes, self.last_score_unix_s, self.latency_s, self.level_dbfs, thresholds, self.chosen
        )


class ServiceState:
    """Keeps what the engine reports, as an ``EngineListener``, for any number of readers in other threads."""

    def __init__(self, manifest: Manifest) -> None:
        self.classes = tuple(ClassTitle(spec.name, spec.title or spec.name) for spec in manifest.classes)
        """All of the bundle: the columns of every ``ScoreRow``."""
        self.bundle_name = f"{manifest.name} {manifest.version}"
        self._lock = threading.Lock()
        self._feeds: dict[str, _Feed] = {}
        self._subscriptions: list[Subscription] = []
        self._sequence = itertools.count(1)
        self._last_turn_s = time.monotonic()
        self._ready = False
        self._trouble = ""
        self._num_unstored = 0
        self._unstored: dict[str, FeedEvent] = {}

    def feeds(self) -> list[FeedSnapshot]:
        """All feeds, in the order in which they were added."""
        with self._lock:
            return [feed.snapshot(self.classes, datetime.now(UTC)) for feed in self._feeds.values()]

    def history(self, feed: str, *, after: int = 0) -> list[ScoreRow]:
        """The scores of the last minutes, oldest first; those after the sequence number ``after``.

        Raises:
            KeyError: there is no such feed.
        """
        with self._lock:
            return [row for row in self._feeds[feed].rows if row.sequence > after]

    def subscribe(self, wake: Callable[[], None]) -> Subscription:
        """Everything that happens from now on; ``wake`` is called when there is something to take."""
        subscription = Subscription(wake, self._leave)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def ready(self) -> bool:
        """Whether the service has begun to work, and keeps what it finds."""
        return self._ready and not self._trouble

    def trouble(self) -> str:
        """What is wrong with the whole service, in a sentence; empty where all is well."""
        if not self._trouble:
            return ""
        if not self._num_unstored:
            return f"{self._trouble[:1].upper()}{self._trouble[1:]}"
        waiting = "1 report waits" if self._num_unstored == 1 else f"{self._num_unstored} reports wait"
        return f"{self._trouble[:1].upper()}{self._trouble[1:]} {waiting} in memory."

    def unstored(self) -> dict[str, FeedEvent]:
        """The newest report of each event that could not be stored yet."""
        with self._lock:
            return dict(self._unstored)

    def set_store_trouble(self, message: str) -> None:
        """Why the store cannot be written to; empty where it can."""
        self._trouble = message

    def set_unstored(self, num_reports: int, events: Mapping[str, FeedEvent]) -> None:
        """How many reports wait for the store, and the newest ones of events among them."""
        with self._lock:
            self._num_unstored, self._unstored = num_reports, dict(events)

    def healthy(self) -> bool:
        """Whether the engine is alive."""
        return time.monotonic() - self._last_turn_s < ALIVE_WITHIN_S

    def set_ready(self, ready: bool) -> None:
        """Called when all has been started, and again when the service begins to stop."""
        self._ready = ready

    def set_rules(self, spec: FeedSpec, chosen: Iterable[str] = ()) -> None:
        """Say by which rules a feed is watched, and for which classes somebody has chosen the threshold."""
        with self._lock:
            feed = self._feeds.get(spec.name)
            if feed is not None:
                feed.spec, feed.chosen = spec, frozenset(chosen)

    def set_classes(self, feed: str, classes: Sequence[str]) -> None:
        """Say anew which classes are wanted of a feed."""
        with self._lock:
            if feed in self._feeds:
                self._feeds[feed].classes = tuple(entry for entry in self.classes if entry.name in classes)

    def set_feed(self, status: FeedStatus, classes: Sequence[str]) -> None:
        """Add a feed, or say anew which classes are wanted of it."""
        wanted = tuple(entry for entry in self.classes if entry.name in classes)
        with self._lock:
            known = self._feeds.get(status.feed)
            if known is None:
                self._feeds[status.feed] = _Feed(status, wanted)
            else:
                known.classes = wanted
        self.on_state(status)

    def remove_feed(self, feed: str) -> None:
        """Forget a feed and its history."""
        with self._lock:
            self._feeds.pop(feed, None)

    def on_event(self, event: FeedEvent) -> None:
        """Pass it on."""
        self._publish("event", event.feed, event.as_dict())

    def on_gap(self, gap: FeedGap) -> None:
        """Pass it on."""
        self._publish("gap", gap.feed, gap.as_dict())

    def on_gap_end(self, gap: FeedGap) -> None:
        """Pass it on."""
        self._publish("gap", gap.feed, gap.as_dict())

    def on_score(self, scored: ScoredSnippet) -> None:
        """Keep it for a while."""
        score = scored.score
        with self._lock:
            feed = self._feeds.get(scored.feed)
            if feed is None:
                return
            row = ScoreRow(
                next(self._sequence),
                scored.at_unix_s,
                _rounded(score.scores.tolist()),
                _rounded(score.audio_scores.tolist()) if score.audio_present else None,
                _rounded(score.visual_scores.tolist()) if score.visual_present else None,
                None if scored.level_dbfs is None else round(scored.level_dbfs, 1),
            )
            feed.rows.append(row)
            while feed.rows[0].at_unix_s < scored.at_unix_s - HISTORY_S:
                feed.rows.popleft()
            feed.last_score_unix_s = time.time()
            feed.latency_s = scored.latency_s
            feed.level_dbfs = row.level_dbfs
            if self._subscriptions:
                self._tell(Change(row.sequence, "score", scored.feed, row.as_dict()))

    def on_state(self, status: FeedStatus) -> None:
        """Keep it."""
        with self._lock:
            feed = self._feeds.get(status.feed)
            if feed is not None:
                feed.status = status
        self._publish("state", status.feed, status.as_dict())

    def on_clip(self, ready: ClipReady) -> None:
        """Pass it on."""
        body = {
            "id": ready.event_id,
            "clip": ready.clip.name if ready.clip else None,
            "thumbnail": ready.thumbnail.name if ready.thumbnail else None,
            "clip_failure": None if ready.clip or ready.early else ready.message,
        }
        self._publish("clip", ready.feed, body)

    def on_answer(self, feed: str, event_id: str, answer: str | None) -> None:
        """Somebody has confirmed or dismissed an event, or taken that back: all other pages show it."""
        self._publish("answer", feed, {"id": event_id, "answer": answer})

    def on_turn(self) -> None:
        """The engine is alive."""
        self._last_turn_s = time.monotonic()

    def _publish(self, kind: ChangeKind, feed: str, body: dict[str, Any]) -> None:
        with self._lock:
            self._tell(Change(next(self._sequence), kind, feed, body))

    def _tell(self, change: Change) -> None:
        """With the lock held, so that changes arrive in the order of their numbers."""
        for subscription in self._subscriptions:
            subscription.put(change)

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
