"""One live feed: what ``avdetect watch`` shows, and ``avdetect.watch`` hands over in Python."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from avdetect.errors import MediaError, UsageError
from avdetect.events.event import FeedEvent, FeedGap
from avdetect.events.rules import RuleOverrides
from avdetect.files import kind_of, make_folder
from avdetect.manifest import EventRule
from avdetect.media.live_options import LiveOptions
from avdetect.media.location import names_file
from avdetect.redaction import redacted
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.clip_requests import ClipOptions
from avdetect.serve.feeds.engine import Engine
from avdetect.serve.feeds.listener import ClipReady, EngineListener, FeedStatus, ScoredSnippet
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress

FeedReport = FeedEvent | FeedGap | FeedStatus | ClipReady | ScoredSnippet
"""A report on a feed."""


def watch(
    url: str,
    *,
    bundle: Bundle | None = None,
    options: LiveOptions = LiveOptions(),  # noqa: B008 - frozen
    rules: RuleOverrides | Sequence[EventRule | None] | None = None,
    clips: Path | str | None = None,
    scores: bool = False,
) -> Iterator[FeedReport]:
    """Watch one live feed until it is over. A connection that is lost is made again, and the gap reported.

    The feed is watched by threads and a process of its own while the caller is busy with a report. Leaving the loop, or
    closing the iterator, ends them: open events are closed, but no longer handed over.

    Args:
        url: a stream, a device, a pipe, ``-`` for standard input, or a file with ``options.realtime``.
        bundle: ``None`` for the embedded default, on the device ``auto``.
        options: how to reach it.
        rules: as for ``score``.
        clips: a folder for clips of events, made where it is missing; ``None`` for none.
        scores: whether to hand over the score of every snippet as well.

    Yields:
        Events as they open, go on and close; gaps as they begin, and once more with their end; how the feed is whenever
        that changes; clips when they have been written.

    Raises:
        MediaError: there is no such file.
        OutputError: the folder for clips cannot be made.
        BundleError: the bundle cannot score live feeds.
        UsageError: a file is to be watched as fast as it can be read, or there are not as many rules as classes.
    """
    folder = None if clips is None else Path(clips)
    check_feed(url, options, folder)
    loaded = Bundle.load() if bundle is None else bundle
    reports = _Reports(with_scores=scores)
    return _run(open_feed(url, reports, loaded, options=options, rules=rules, clips=folder), reports)


def check_feed(url: str, options: LiveOptions, clips: Path | None) -> None:
    """Notice before the model is loaded that a feed cannot be watched; make the folder for clips.

    Raises:
        MediaError: there is no such file.
        UsageError: a file is to be watched as fast as it can be read.
        OutputError: the folder cannot be made.
    """
    if clips is not None:
        make_folder(clips)
    if not names_file(url, options):
        return
    path = Path(url)
    if kind_of(path) is None:
        raise MediaError(f"{url}: no such file.")  # waiting for it would help nobody
    if kind_of(path) == "file" and not options.realtime:
        raise UsageError(f"{url} is a file: play it with --realtime, or use `avdetect score`, which takes less time.")


def open_feed(
    url: str,
    listener: EngineListener,
    bundle: Bundle,
    *,
    options: LiveOptions,
    rules: RuleOverrides | Sequence[EventRule | None] | None = None,
    clips: Path | None = None,
) -> Engine:
    """An engine with one feed that ``check_feed`` has passed, to be run; arguments and errors as for ``watch``."""
    names, manifest = bundle.manifest.class_names, bundle.manifest
    if rules is None or isinstance(rules, RuleOverrides):
        rules = (rules or RuleOverrides()).rules(names, manifest)
    if len(rules) != len(names):
        raise UsageError(f"{len(rules)} rules were given for the {len(names)} classes of {bundle.name}.")
    engine = Engine(bundle, listener)
    clip_options = None if clips is None else ClipOptions(clips)
    engine.add(FeedSpec(feed_name(url), FeedAddress(url, options), tuple(rules), clip_options))
    return engine


def feed_name(url: str) -> str:
    """Return the name of the feed: its address without credentials."""
    return "standard input" if url == "-" else redacted(url)


class _Reports(EngineListener):
    """Puts what is reported into a queue."""

    def __init__(self, *, with_scores: bool) -> None:
        self.queue: queue.SimpleQueue[FeedReport | BaseException | None] = queue.SimpleQueue()
        self._with_scores = with_scores

    def on_event(self, event: FeedEvent) -> None:
        """Hand over."""
        self.queue.put(event)

    def on_gap(self, gap: FeedGap) -> None:
        """Hand over."""
        self.queue.put(gap)

    def on_gap_end(self, gap: FeedGap) -> None:
        """Hand over."""
        self.queue.put(gap)

    def on_score(self, scored: ScoredSnippet) -> None:
        """Hand over where it is wanted."""
        if self._with_scores:
            self.queue.put(scored)

    def on_state(self, status: FeedStatus) -> None:
        """Hand over."""
        self.queue.put(status)

    def on_clip(self, ready: ClipReady) -> None:
        """Hand over."""
        self.queue.put(ready)


def _run(engine: Engine, reports: _Reports) -> Iterator[FeedReport]:
    def work() -> None:
        try:
            engine.run(until_all_over=True)
        except BaseException as error:  # whatever it is, it is the consumer's to handle
            reports.queue.put(error)
        else:
            reports.queue.put(None)

    thread = threading.Thread(target=work, name="avdetect-watch", daemon=True)
    thread.start()
    try:
        while (report := reports.queue.get()) is not None:
            if isinstance(report, BaseException):
                raise report
            yield report
    finally:
        engine.stop()
        thread.join()
