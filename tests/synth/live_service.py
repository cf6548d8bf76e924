"""A service as the web page sees it: real state, store, metrics and server; only the feeds are played."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from avdetect.events.event import Event, EventStage, FeedEvent, Modality, SnippetScore
from avdetect.events.rules import RuleOverrides
from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.feeds.listener import FeedState, FeedStatus, ScoredSnippet
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress
from avdetect.serve.store import Store
from avdetect.serve.web.app import create_app
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.server import WebServer
from avdetect.serve.web.state import ServiceState
from avdetect.timebase import Span

HOP_S = 0.64


@dataclass(frozen=True)
class LiveService:
    """A running web server and what it shows."""

    state: ServiceState
    store: Store
    clips_folder: Path
    url: str

    def add_feed(self, name: str, state: FeedState = "running", message: str = "", **more: Any) -> None:
        """A feed for which all classes are wanted."""
        status = FeedStatus(name, state, datetime.now(UTC) - timedelta(minutes=2), message, **more)
        self.state.set_feed(status, [entry.name for entry in self.state.classes])
        self.state.set_rules(a_spec(name))

    def score(
        self,
        feed: str,
        probability: float,
        *,
        at_unix_s: float | None = None,
        heard: bool = True,
        seen: bool = True,
        level_dbfs: float | None = -32.5,
    ) -> None:
        """Report a snippet: all classes have a ``probability``, and a little less of what was heard and seen."""
        scores = np.full(len(self.state.classes), probability, np.float32)
        span = Span(0.0, HOP_S)
        snippet = SnippetScore(0, span, scores, scores * np.float32(0.9), scores * np.float32(0.6), heard, seen)
        at = time.time() if at_unix_s is None else at_unix_s
        self.state.on_score(
            ScoredSnippet(feed, snippet, at_unix_s=at, latency_s=0.85, compute_s=0.21, level_dbfs=level_dbfs)
        )

    def report(self, event: FeedEvent) -> None:
        """Store an event, then tell the page."""
        self.store.record_event(event)
        self.state.on_event(event)


def make_event(
    event_id: str,
    *,
    feed: str = "gate",
    label: str = "gunshot",
    started_at: datetime | None = None,
    length_s: float = 2.0,
    stage: EventStage = "closed",
    confidence: float = 0.8,
    modality: Modality = "audio",
    clip: str | None = None,
    thumbnail: str | None = None,
) -> FeedEvent:
    """An event, by default one that began ten seconds ago."""
    start = started_at or datetime.now(UTC) - timedelta(seconds=10)
    end, peak = start + timedelta(seconds=length_s), start + timedelta(seconds=length_s / 2)
    event = Event(label, 100.0, 100.0 + length_s, 100.0 + length_s / 2, confidence, modality)
    return FeedEvent(event_id, feed, stage, event, start, end, peak, clip=clip, thumbnail=thumbnail)


def a_spec(feed: str, thresholds: Mapping[str, float] = {}) -> FeedSpec:
    """A feed with the bundle's rules and these thresholds."""
    manifest = read_manifest(default_bundle_path())
    rules = RuleOverrides.parse(thresholds=dict(thresholds)).rules(manifest.class_names, manifest)
    return FeedSpec(feed, FeedAddress("rtsp://camera/1", LiveOptions()), tuple(rules))


@contextmanager
def live_service(folder: Path, *, token: str | None = None, port: int = 0) -> Iterator[LiveService]:
    """Serve on a free port of this machine, and stop; what was stored in ``folder`` before is there again."""
    clips_folder = folder / "clips"
    clips_folder.mkdir(exist_ok=True)
    state = ServiceState(read_manifest(default_bundle_path()))
    with Store(folder / "store.db") as store:

        def set_threshold(feed: str, label: str, value: float | None) -> None:
            """As the service does, without an engine."""
            store.set_threshold(feed, label, value)
            chosen = store.thresholds(feed)
            state.set_rules(a_spec(feed, chosen), chosen)

        app = create_app(state, store, Metrics(), token, clips_folder, set_threshold=set_threshold)
        with WebServer(app, "127.0.0.1", port) as server:
            state.set_ready(True)
            yield LiveService(state, store, clips_folder, f"http://127.0.0.1:{server.port}")
