"""Thresholds that are set while the service runs: on the page, or through a broker."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from avdetect.errors import UsageError
from avdetect.serve.config import LoadedConfig
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.store import Store

__all__ = ["Thresholds"]

_LOG = logging.getLogger(__name__)


class Thresholds:
    """What was chosen for single classes of feeds, kept in the store; it goes before the configuration. Thread-safe.

    Args:
        store: keeps them.
        loaded: the configuration as it is now.
        apply: takes the feed with its new thresholds.
    """

    def __init__(self, store: Store, loaded: Callable[[], LoadedConfig], apply: Callable[[FeedSpec], None]) -> None:
        self._store = store
        self._loaded = loaded
        self._apply = apply
        self._lock = threading.RLock()

    def spec(self, feed: str) -> FeedSpec:
        """An enabled feed with what was chosen for it."""
        return self._loaded().feed(feed, self.chosen(feed))

    def chosen(self, feed: str) -> dict[str, float]:
        """What was chosen for a feed, by class."""
        return self._store.thresholds(feed)

    def set(self, feed: str, label: str, value: float | None) -> None:
        """Choose a threshold, or with ``None`` what the configuration says.

        Raises:
            UsageError: there is no such feed or class, or it is no probability.
            StoreError: it cannot be kept; nothing has changed then.
        """
        loaded = self._loaded()
        if feed not in {spec.name for spec in loaded.feeds}:
            raise UsageError(f"no feed is called {feed}.")
        if label not in loaded.classes(feed):
            raise UsageError(f"no class of {feed} is called {label}.")
        if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise UsageError(f"a threshold must be a probability from 0 to 1, got {value:g}.")
        with self._lock:
            self._store.set_threshold(feed, label, value)
            self._apply(self.spec(feed))
        said = "what the configuration says" if value is None else f"{value:g}"
        _LOG.info("%s: the threshold of %s is now %s", feed, label, said, extra={"feed": feed})
