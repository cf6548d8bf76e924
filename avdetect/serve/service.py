"""``avdetect serve``: engine, store, sinks and web page put together, from a configuration that may change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from avdetect.errors import AvdetectError, OutputError, StoreError, UsageError
from avdetect.events.event import FeedGap
from avdetect.runtime.bundle import Bundle
from avdetect.serve.config.loading import CLIPS_FOLDER, STORE_FILE, LoadedConfig, load_config
from avdetect.serve.feeds.engine import Engine
from avdetect.serve.feeds.listener import FeedStatus, Listeners
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.logs import configure_logging
from avdetect.serve.reporter import Reporter
from avdetect.serve.signals import Order, Orders, Watchdog, notify
from avdetect.serve.sinks import Sink, SinkSettings, open_sink
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.store import Store
from avdetect.serve.store.retention import prune
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.state import ServiceState

__all__ = ["serve"]

_DRAIN_WITHIN_S = 5.0
"""For what the sinks have still to get when the service stops; the rest is delivered by the next run."""
_PRUNE_INTERVAL_S = 600.0

_LOG = logging.getLogger(__name__)


def serve(path: Path, orders: Orders) -> None:
    """Run the service until it is ordered to stop.

    Args:
        path: of the configuration.
        orders: what to do; given from other threads or by signals, before this is called or later.

    Raises:
        UsageError: the configuration has mistakes, or a library is missing.
        AvdetectError: the bundle, the store or the port cannot be used.
    """
    loaded = load_config(path)
    configure_logging(loaded.config.log)
    with ExitStack() as opened:
        _Service(path, loaded, orders, opened).run()


class _Service:
    """All the parts; ``opened`` closes them, the last first."""

    def __init__(self, path: Path, loaded: LoadedConfig, orders: Orders, opened: ExitStack) -> None:
        config = loaded.config
        self._path = path
        self._loaded = loaded
        self._orders = orders
        self._clips_folder = config.store.folder / CLIPS_FOLDER
        _make_folder(self._clips_folder)
        bundle = Bundle.load(config.model.bundle, prompts=loaded.prompts, device=config.model.device)
        for note in bundle.notes:
            _LOG.warning("%s", note)
        self._store = opened.enter_context(Store(config.store.folder / STORE_FILE))
        self._metrics = Metrics()
        self._state = ServiceState(bundle.manifest)
        dispatcher = Dispatcher(self._store, _sinks(config.sinks), observer=self._metrics)
        self._dispatcher = opened.enter_context(dispatcher)
        self._metrics.watch_backlog(self._dispatcher.backlog)
        self._reporter = Reporter(self._store, self._dispatcher, self._metrics, self._state, self._sinks_of)
        self._engine = Engine(bundle, Listeners(self._reporter, Watchdog()))
        if config.web.enabled:
            self._open_web(opened)
        self._engine_thread = threading.Thread(target=self._run_engine, name="engine")
        self._engine_error: Exception | None = None

    def run(self) -> None:
        """Run until told to stop."""
        self._orders.obey_from_here(self._engine.abort)
        self._set_feeds((), self._loaded.feeds, self._reporter.resume([spec.name for spec in self._loaded.feeds]))
        self._engine_thread.start()
        self._state.set_ready(True)
        notify("READY=1")
        _LOG.info("watching %d feeds with %s", len(self._loaded.feeds), self._state.bundle_name)
        try:
            while self._next_order() is Order.RELOAD:
                self._reload()
        finally:
            self._stop()
        if self._engine_error is not None:
            raise self._engine_error

    def _next_order(self) -> Order:
        """Wait for one; make room in the store meanwhile."""
        while True:
            self._prune()
            order = self._orders.next(_PRUNE_INTERVAL_S)
            if order is not None:
                return order

    def _stop(self) -> None:
        """Close and deliver what is open."""
        _LOG.info("stopping")
        notify("STOPPING=1")
        self._state.set_ready(False)
        self._engine.stop()
        self._engine_thread.join()
        if self._engine_error is None:
            self._reporter.note_watched()
        left = self._dispatcher.drain(_DRAIN_WITHIN_S)
        if left:
            _LOG.warning("%d reports are left for the next run", left)

    def _run_engine(self) -> None:
        try:
            self._engine.run()
        except Exception as error:  # whatever it is: the service must not seem to live on
            self._engine_error = error
        self._orders.give(Order.STOP)

    def _open_web(self, opened: ExitStack) -> None:
        from avdetect.serve.web.app import create_app
        from avdetect.serve.web.server import WebServer

        web, clips = self._loaded.config.web, self._loaded.config.clips
        app = create_app(
            self._state,
            self._store,
            self._metrics,
            self._loaded.token,
            self._clips_folder,
            clip_margin_s=max(clips.pre_roll_s, clips.post_roll_s),
        )
        server = opened.enter_context(WebServer(app, web.host, web.port))
        _LOG.info("page at http://%s:%d/", web.host, server.port)

    def _sinks_of(self, feed: str) -> tuple[str, ...]:
        """Also of a feed that has just been taken out of the configuration."""
        config = self._loaded.config
        return self._loaded.sinks(feed) if feed in config.feeds else tuple(config.sinks)

    def _set_feeds(
        self, before: Sequence[FeedSpec], after: Sequence[FeedSpec], outages: Mapping[str, FeedGap] = {}
    ) -> None:
        """Start, replace and end what has changed; leave the others alone. ``outages`` last until the first media."""
        unchanged = {spec.name for spec in after if spec in before}
        for spec in before:
            if spec.name not in {other.name for other in after}:
                self._engine.remove(spec.name)
                self._state.remove_feed(spec.name)
        for spec in after:
            if spec.name not in unchanged:
                status = FeedStatus(spec.name, "connecting", datetime.now(UTC))
                self._state.set_feed(status, self._loaded.classes(spec))
                self._engine.add(spec, outage=outages.get(spec.name))
        self._dispatcher.announce({spec.name: self._loaded.classes(spec) for spec in after})

    def _reload(self) -> None:
        """Take over a new configuration; keep the old one where it has mistakes."""
        try:
            loaded = load_config(self._path)
        except AvdetectError as error:
            _LOG.error("the configuration is not taken over: %s", error)
            return
        before = self._loaded
        fixed = [
            name for name in ("model", "prompts", "store", "web") if _section(loaded, name) != _section(before, name)
        ]
        if fixed:
            sections = ", ".join(f"[{name}]" for name in fixed)
            _LOG.error("the configuration is not taken over: a change of %s needs a restart.", sections)
            return
        now, then = loaded.config.sinks, before.config.sinks
        try:
            new = _sinks({name: settings for name, settings in now.items() if then.get(name) != settings})
        except UsageError as error:
            _LOG.error("the configuration is not taken over: %s", error)
            return
        self._loaded = loaded
        configure_logging(loaded.config.log)
        self._dispatcher.replace([name for name, settings in then.items() if now.get(name) != settings], new)
        for feed in self._state.feeds():
            self._dispatcher.status(feed.status.feed, feed.status.state == "running")
        self._set_feeds(before.feeds, loaded.feeds)
        _LOG.info("the configuration was read again: %d feeds", len(loaded.feeds))

    def _prune(self) -> None:
        kept = self._loaded.config.store
        try:
            prune(
                self._store,
                self._clips_folder,
                now=datetime.now(UTC),
                max_age=None if kept.max_age is None else timedelta(seconds=kept.max_age),
                max_bytes=None if kept.max_size is None else int(kept.max_size),
            )
        except (StoreError, OutputError) as error:
            _LOG.error("%s", error)


def _sinks(settings: Mapping[str, SinkSettings]) -> list[Sink]:
    return [open_sink(name, chosen) for name, chosen in settings.items()]


def _section(loaded: LoadedConfig, name: str) -> object:
    return getattr(loaded.config, name)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}.") from error
