"""``avdetect serve``: engine, store, sinks and web page put together, from a configuration that may change."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import AvdetectError, OutputError, StoreError
from avdetect.events.event import FeedGap
from avdetect.runtime.bundle import Bundle
from avdetect.serve.config import CLIPS_FOLDER, STORE_FILE, LoadedConfig, load_config
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
from avdetect.serve.store.scores import ScoreKeeper
from avdetect.serve.thresholds import Thresholds
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.state import ServiceState

if TYPE_CHECKING:
    from avdetect.serve.web.server import WebServer

__all__ = ["serve"]

_DRAIN_WITHIN_S = 5.0
"""For what the sinks have still to get when the service stops; the rest is delivered by the next run."""
_PRUNE_INTERVAL_S = 600.0
_TELL_INTERVAL_S = 20.0
"""How often it is looked whether another hour has begun."""

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
        for note in loaded.notes:
            _LOG.warning("%s", note)
        bundle = Bundle.load(config.model.bundle, prompts=loaded.prompts, device=config.model.device)
        for note in bundle.notes:
            _LOG.warning("%s", note)
        self._store = opened.enter_context(Store(config.store.folder / STORE_FILE))
        self._identity = self._store.identity()
        self._metrics = Metrics()
        self._state = ServiceState(bundle.manifest)
        self._thresholds = Thresholds(self._store, lambda: self._loaded, self._apply)
        dispatcher = Dispatcher(
            self._store, self._sinks(config.sinks), observer=self._metrics, set_threshold=self._thresholds.set
        )
        self._dispatcher = opened.enter_context(dispatcher)
        self._metrics.watch_backlog(self._dispatcher.backlog)
        self._reporter = Reporter(
            self._store,
            self._dispatcher,
            self._metrics,
            self._state,
            lambda feed, event: self._loaded.sinks(feed, event),
            scores=ScoreKeeper(self._store, bundle.manifest) if config.store.scores_max_age > 0 else None,
        )
        self._engine = Engine(bundle, Listeners(self._reporter, Watchdog()))
        self._web: WebServer | None = None
        opened.callback(self._close_web)
        self._open_web()
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
        """Wait for one; make room in the store meanwhile, and tell of thresholds that change with the hour."""
        prune_s = -math.inf
        while True:
            if time.monotonic() >= prune_s + _PRUNE_INTERVAL_S:
                prune_s = time.monotonic()
                self._prune()
            order = self._orders.next(_TELL_INTERVAL_S)
            if order is not None:
                return order
            self._tell_thresholds()

    def _stop(self) -> None:
        """Close and deliver what is open."""
        _LOG.info("stopping")
        notify("STOPPING=1")
        self._state.set_ready(False)
        self._engine.stop()
        self._engine_thread.join()
        if self._engine_error is None:
            self._reporter.note_watched()
        self._reporter.close()
        left = self._dispatcher.drain(_DRAIN_WITHIN_S)
        if left:
            _LOG.warning("%d reports are left for the next run", left)

    def _run_engine(self) -> None:
        try:
            self._engine.run()
        except Exception as error:  # whatever it is: the service must not seem to live on
            self._engine_error = error
        self._orders.give(Order.STOP)

    def _open_web(self) -> None:
        """Serve the page as the configuration says.

        Raises:
            UsageError: nothing can be listened on there.
        """
        web, clips = self._loaded.config.web, self._loaded.config.clips
        if not web.enabled:
            return
        from avdetect.serve.web.app import create_app
        from avdetect.serve.web.server import WebServer

        app = create_app(
            self._state,
            self._store,
            self._metrics,
            self._loaded.token,
            self._clips_folder,
            clip_margin_s=max(clips.pre_roll_s, clips.post_roll_s),
            set_threshold=self._thresholds.set,
        )
        self._web = WebServer(app, web.host, web.port)
        self._web.__enter__()
        _LOG.info("page at http://%s:%d/", web.host, self._web.port)

    def _close_web(self) -> None:
        web, self._web = self._web, None
        if web is not None:
            web.__exit__(None, None, None)

    def _sinks(self, settings: Mapping[str, SinkSettings]) -> list[Sink]:
        return [open_sink(name, chosen, identity=self._identity) for name, chosen in settings.items()]

    def _set_feeds(
        self, before: Sequence[FeedSpec], after: Sequence[FeedSpec], outages: Mapping[str, FeedGap] = {}
    ) -> None:
        """Start, replace and end what has changed; leave the others alone. ``outages`` last until the first media."""
        addresses = {spec.name: spec.address for spec in before}
        for spec in before:
            if spec.name not in {other.name for other in after}:
                self._engine.remove(spec.name)
                self._state.remove_feed(spec.name)
        for spec in after:
            classes = self._loaded.classes(spec.name)
            if addresses.get(spec.name) != spec.address:
                self._state.set_feed(FeedStatus(spec.name, "connecting", datetime.now(UTC)), classes)
            self._state.set_classes(spec.name, classes)
        self._dispatcher.announce({spec.name: self._loaded.classes(spec.name) for spec in after})
        for spec in after:
            outage = outages.get(spec.name)
            if outage is None and spec.name not in addresses:
                outage = self._reporter.take_up(spec.name)
            self._apply(self._thresholds.spec(spec.name), outage)

    def _apply(self, spec: FeedSpec, outage: FeedGap | None = None) -> None:
        """Watch a feed by these rules: where its source is the same, without connecting to it again."""
        self._engine.add(spec, outage=outage)
        self._state.set_rules(spec, self._thresholds.chosen(spec.name))
        self._tell_thresholds()

    def _tell_thresholds(self) -> None:
        for snapshot in self._state.feeds():
            self._dispatcher.thresholds(snapshot.status.feed, snapshot.thresholds)

    def _reload(self) -> None:
        """Take over a new configuration; keep the old one where it has mistakes."""
        before = self._loaded
        try:
            loaded = load_config(self._path, running=before)
            now, then = loaded.config.sinks, before.config.sinks
            new = self._sinks({name: settings for name, settings in now.items() if then.get(name) != settings})
        except AvdetectError as error:
            _LOG.error("the configuration is not taken over: %s", error)
            return
        for note in loaded.notes:
            _LOG.warning("%s", note)
        self._loaded = loaded
        configure_logging(loaded.config.log)
        self._dispatcher.replace([name for name, settings in then.items() if now.get(name) != settings], new)
        self._set_feeds(before.feeds, loaded.feeds)
        for feed in self._state.feeds():
            self._dispatcher.status(feed.status.feed, feed.status.state == "running")
        if (loaded.config.web, loaded.token) != (before.config.web, before.token):
            self._move_web(before)
        _LOG.info("the configuration was read again: %d feeds", len(loaded.feeds))

    def _move_web(self, before: LoadedConfig) -> None:
        """Serve the page as the new configuration says; where that is not possible as before."""
        self._close_web()
        try:
            self._open_web()
        except AvdetectError as error:
            _LOG.error("the change of [web] is not taken over: %s", error)
            config = self._loaded.config.model_copy(update={"web": before.config.web})
            self._loaded = replace(self._loaded, config=config, token=before.token)
            self._open_web()

    def _prune(self) -> None:
        kept = self._loaded.config.store
        try:
            prune(
                self._store,
                self._clips_folder,
                now=datetime.now(UTC),
                max_age=None if kept.max_age is None else timedelta(seconds=kept.max_age),
                max_bytes=None if kept.max_size is None else int(kept.max_size),
                scores_max_age=timedelta(seconds=kept.scores_max_age),
            )
        except (StoreError, OutputError) as error:
            _LOG.error("%s", error)


def _make_folder(folder: Path) -> None:
    try:
        if not folder.parent.exists():
            folder.parent.parent.mkdir(parents=True, exist_ok=True)
            folder.parent.mkdir(mode=0o700)  # it will hold what was seen and heard
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}.") from error
