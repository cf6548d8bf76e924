"""Figures for Prometheus: how the feeds do, and the sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

__all__ = ["Metrics"]

_LATENCY_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Around the hop (0.64 s) and what a busy machine adds to it."""


class Metrics:
    """All that can be scraped from one service; its methods may be called from any thread."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        feed, feed_class, sink = ["feed"], ["feed", "class"], ["sink"]
        self._registry = registry
        self._up = Gauge("avdetect_feed_up", "1 while media of the feed come in, else 0.", feed, registry=registry)
        self._snippets = Counter("avdetect_snippets_total", "Snippets scored.", feed, registry=registry)
        self._dropped = Counter(
            "avdetect_dropped_snippets_total",
            "Snippets given up because the machine fell behind.",
            feed,
            registry=registry,
        )
        self._latency = Histogram(
            "avdetect_latency_seconds",
            "From the end of a snippet to its score.",
            feed,
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._reconnects = Counter(
            "avdetect_reconnects_total", "How often a feed came back after it was lost.", feed, registry=registry
        )
        self._events = Counter("avdetect_events_total", "Events opened.", feed_class, registry=registry)
        self._score = Gauge("avdetect_score", "Probability in the newest snippet.", feed_class, registry=registry)
        self._delivered = Counter("avdetect_delivered_total", "Reports that a sink has taken.", sink, registry=registry)
        self._failed = Counter("avdetect_failed_deliveries_total", "Attempts that failed.", sink, registry=registry)
        self._backlog = Gauge("avdetect_backlog", "Reports that wait for a sink.", sink, registry=registry)
        self._level = Gauge(
            "avdetect_sound_level_dbfs", "Loudness of the newest snippet, at most 0.", feed, registry=registry
        )
        self._lost_clips = Counter(
            "avdetect_lost_clips_total", "Clips of events that could not be cut or written.", feed, registry=registry
        )
        self._unstored = Gauge(
            "avdetect_unstored_reports", "Reports that wait because the store cannot be written to.", registry=registry
        )
        self._lost_reports = Counter(
            "avdetect_lost_reports_total", "Reports given up after too many had to wait.", registry=registry
        )
        self._writable = Gauge("avdetect_store_writable", "1 while the store takes reports, else 0.", registry=registry)
        self._writable.set(1)
        self._wrong_tokens = Counter("avdetect_wrong_tokens_total", "Requests with a wrong token.", registry=registry)
        self._read_backlog: Callable[[], Mapping[str, int]] | None = None
        ProcessCollector(registry=registry)  # memory, processor time and open files of this process; Linux only

    def observe_snippet(
        self, feed: str, latency_s: float, scores: Mapping[str, float], level_dbfs: float | None = None
    ) -> None:
        """A snippet was scored, ``latency_s`` after its end; ``scores`` are probabilities by class."""
        if level_dbfs is not None:
            self._level.labels(feed).set(level_dbfs)
        self._snippets.labels(feed).inc()
        self._latency.labels(feed).observe(latency_s)
        for label, score in scores.items():
            self._score.labels(feed, label).set(score)

    def count_drop(self, feed: str, num_snippets: int = 1) -> None:
        """The machine fell behind, and snippets were given up."""
        self._dropped.labels(feed).inc(num_snippets)

    def count_reconnect(self, feed: str) -> None:
        """A feed is back."""
        self._reconnects.labels(feed).inc()

    def count_event(self, feed: str, label: str) -> None:
        """An event opened."""
        self._events.labels(feed, label).inc()

    def set_up(self, feed: str, up: bool) -> None:
        """Whether media of a feed come in. From the first call on, all of the feed's counters show, at 0."""
        self._up.labels(feed).set(up)
        for counter in (self._snippets, self._dropped, self._reconnects):
            counter.labels(feed)

    def count_lost_clip(self, feed: str) -> None:
        """There will be no clip of an event."""
        self._lost_clips.labels(feed).inc()

    def set_unstored(self, num_reports: int) -> None:
        """So many reports wait for the store."""
        self._unstored.set(num_reports)

    def set_writable(self, writable: bool) -> None:
        """Whether the store takes reports."""
        self._writable.set(writable)

    def count_lost_report(self) -> None:
        """A report was given up."""
        self._lost_reports.inc()

    def count_wrong_token(self) -> None:
        """Somebody tried a wrong token."""
        self._wrong_tokens.inc()

    def forget(self, feed: str) -> None:
        """A feed is no more: its figures go."""
        counts = (self._snippets, self._dropped, self._latency, self._reconnects, self._events, self._lost_clips)
        for metric in (self._up, self._score, self._level, *counts):
            metric.remove_by_labels({"feed": feed})

    def count_delivered(self, sink: str) -> None:
        """A sink has taken a report."""
        self._delivered.labels(sink).inc()

    def count_failed(self, sink: str) -> None:
        """An attempt to deliver failed."""
        self._failed.labels(sink).inc()

    def watch_backlog(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Ask ``read`` at every scrape how many reports wait for each sink: ``Dispatcher.backlog``."""
        self._read_backlog = read

    def render(self) -> tuple[bytes, str]:
        """What a scrape gets, and its content type."""
        if self._read_backlog is not None:
            self._backlog.clear()  # of sinks that are no more
            for sink, num_waiting in self._read_backlog().items():
                self._backlog.labels(sink).set(num_waiting)
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
