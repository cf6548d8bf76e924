"""Many live feeds, one set of sessions: START READING HERE.

    a process per feed    connects, decodes, makes snippets               ``feed_process``, started by ``supervisor``
    a thread per feed     takes what its process sends                    ``supervisor``
    the engine's thread   encodes the snippets of all feeds in batches, runs each feed's detector and event decoder
                          (``feed_track``), and reports to a listener

Nothing waits for a feed: a process that hangs or crashes is started again (``live_feed``) while the others go on. When
the engine does not keep up, each process drops its oldest snippets, so neither memory nor latency grow.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Sequence

from avdetect.events.event import FeedEvent, FeedGap
from avdetect.features.encoders import EncoderSessions, SnippetEmbedding, encode, warm_up
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.scorer import StreamingScorer
from avdetect.serve.feeds.clip_requests import clip_ready
from avdetect.serve.feeds.listener import EngineListener, ScoredSnippet
from avdetect.serve.feeds.live_feed import EngineOptions, FeedSpec, LiveFeed
from avdetect.serve.feeds.messages import ClipCut, FromFeed, SnippetReady
from avdetect.serve.feeds.supervisor import Exited, FeedTarget, run_feed
from avdetect.serve.feeds.track import GapOver, Report

__all__ = ["Engine"]

_TURN_S = 0.25
"""How long the engine sleeps at most: then it looks after its feeds."""
_STOPPED_S = 2.0
"""A turn that took so long was stopped by somebody, with the whole machine maybe."""
_MAX_MESSAGES = 256
"""Taken in one turn; the feeds' own limits keep it from growing further."""
_CPU_BATCH_SNIPPETS = 4
"""A CPU is hardly faster with more, and onnxruntime keeps memory for the largest batch it met: 45 MB more for 16."""
_GPU_BATCH_SNIPPETS = 16

_Item = tuple[LiveFeed, FromFeed | Exited] | Callable[[], None]


class Engine:
    """Runs feeds, which may come and go, until it is told to stop.

    ``add``, ``remove``, ``stop`` and ``abort`` may be called from any thread and from signal handlers.

    Args:
        bundle: the model; shared by all feeds.
        listener: told of everything, in the engine's thread.
        options: how to run them; ``None`` for the defaults.
        target: what runs in a feed's process; ``None`` for the product's own.

    Raises:
        BundleError: the bundle cannot score live feeds.
    """

    def __init__(
        self,
        bundle: Bundle,
        listener: EngineListener,
        options: EngineOptions | None = None,
        *,
        target: FeedTarget | None = None,
    ) -> None:
        StreamingScorer(bundle)  # refuses what cannot be streamed
        self._bundle = bundle
        self._sessions = EncoderSessions(bundle.visual, bundle.motion, bundle.audio)
        self._listener = listener
        self._options = options or EngineOptions()
        self._max_batch_snippets = self._options.max_batch_snippets or (
            _CPU_BATCH_SNIPPETS if bundle.provider.is_cpu else _GPU_BATCH_SNIPPETS
        )
        self._target = target or run_feed
        self._mailbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._feeds: dict[str, LiveFeed] = {}
        self._successors: dict[str, FeedSpec] = {}  # wait for the feed of their name to end
        self._removed: set[str] = set()
        self._stopping = False
        self._aborted = False
        self._tended_s = 0.0

    def add(self, spec: FeedSpec, *, outage: FeedGap | None = None) -> None:
        """Run a feed; it takes the place of one of the same name, which ends first unless the source is the same.

        Args:
            spec: what is wanted.
            outage: a gap that has been reported already and lasts until the first media.
        """
        self._mailbox.put(lambda: self._add(spec, outage))

    def remove(self, name: str) -> None:
        """Stop a feed: its open events are closed."""
        self._mailbox.put(lambda: self._remove(name))

    def stop(self) -> None:
        """Stop all feeds and end; ``run`` returns when all has been reported."""
        self._mailbox.put(self._stop)

    def abort(self) -> None:
        """End at once: events that are open stay open."""
        self._mailbox.put(self._abort)

    def run(self, *, until_all_over: bool = False) -> None:
        """Run until ``stop`` or ``abort``.

        Args:
            until_all_over: end as well when each feed's source has come to its own end.
        """
        if self._bundle.provider.is_cpu:  # else memory would grow in hours, when more snippets meet than ever before
            warm_up(self._bundle.manifest, self._sessions, self._max_batch_snippets)
        self._tended_s = time.monotonic()
        try:
            while not self._aborted and not self._is_done(until_all_over):
                self._turn()
        finally:
            for feed in self._feeds.values():
                feed.abort()

    def _is_done(self, until_all_over: bool) -> bool:
        can_end = self._stopping or (until_all_over and len(self._feeds) > 0)
        return can_end and all(feed.over for feed in self._feeds.values())

    def _turn(self) -> None:
        """Take what is there, score it in as few batches as possible, and look after the feeds."""
        snippets: list[tuple[LiveFeed, SnippetReady]] = []
        for item in self._take():
            if callable(item):
                item()
                continue
            feed, message = item
            if isinstance(message, SnippetReady):
                snippets.append((feed, message))
            else:
                if any(waiting is feed for waiting, _ in snippets):  # what came before it comes first
                    self._score(snippets)
                    snippets = []
                self._handle(feed, message)
        self._score(snippets)
        now_s = time.monotonic()
        turn_s, self._tended_s = now_s - self._tended_s, now_s
        for feed in list(self._feeds.values()):
            if turn_s > _STOPPED_S:
                feed.excuse(turn_s)
            self._report(feed, feed.tend())
            if feed.over:
                self._succeed(feed)
        self._listener.on_turn()

    def _take(self) -> list[_Item]:
        """All that has come in, in order; waits a little where that is nothing."""
        items: list[_Item] = []
        try:
            items.append(self._mailbox.get(timeout=_TURN_S))
            while len(items) < _MAX_MESSAGES:
                items.append(self._mailbox.get_nowait())
        except queue.Empty:
            pass
        return items

    def _handle(self, feed: LiveFeed, message: FromFeed | Exited) -> None:
        if isinstance(message, ClipCut):
            self._listener.on_clip(clip_ready(feed.spec.name, message))
        else:
            self._report(feed, feed.take(message))

    def _score(self, snippets: Sequence[tuple[LiveFeed, SnippetReady]]) -> None:
        """Encode in batches over feeds, then let each feed's detector and event decoder have theirs."""
        for first in range(0, len(snippets), self._max_batch_snippets):
            batch = snippets[first : first + self._max_batch_snippets]
            embeddings = encode(
                [ready.snippet for _, ready in batch],
                self._bundle.manifest,
                self._sessions,
                pad_to=0 if self._bundle.provider.is_cpu else _next_power_of_two(len(batch)),
            )
            by_feed: dict[LiveFeed, list[tuple[SnippetReady, SnippetEmbedding]]] = {}
            for (feed, ready), embedding in zip(batch, embeddings, strict=True):
                by_feed.setdefault(feed, []).append((ready, embedding))
            for feed, encoded in by_feed.items():
                self._report(feed, feed.score(encoded))

    def _report(self, feed: LiveFeed, reports: Iterable[Report]) -> None:
        for report in reports:
            match report:
                case ScoredSnippet():
                    self._listener.on_score(report)
                case FeedEvent():
                    self._listener.on_event(report)
                    feed.ask_for_clips(report)
                case FeedGap():
                    self._listener.on_gap(report)
                case GapOver():
                    self._listener.on_gap_end(report.gap)

    def _add(self, spec: FeedSpec, outage: FeedGap | None) -> None:
        if self._stopping:
            return
        before = self._feeds.get(spec.name)
        if before is not None and not before.is_stopping and before.spec.address == spec.address:
            self._report(before, before.change(spec))
            return
        if before is not None and not before.over:
            self._successors[spec.name] = spec
            self._report(before, before.stop())
            return
        feed = LiveFeed(
            spec,
            self._bundle,
            self._options,
            self._target,
            deliver=lambda feed, message: self._mailbox.put((feed, message)),
            on_state=self._listener.on_state,
            outage=outage,
        )
        self._feeds[spec.name] = feed
        feed.start()

    def _remove(self, name: str) -> None:
        self._successors.pop(name, None)
        if name in self._feeds:
            self._removed.add(name)
            feed = self._feeds[name]
            self._report(feed, feed.stop())

    def _succeed(self, feed: LiveFeed) -> None:
        """A feed is over: forget it if it was removed, and start the one that takes its place."""
        name = feed.spec.name
        successor = self._successors.pop(name, None)
        if successor is not None:
            gap = feed.gap_to_successor()
            if gap is not None:
                self._listener.on_gap(gap)
            self._add(successor, gap)
        elif name in self._removed:
            self._removed.discard(name)
            del self._feeds[name]

    def _stop(self) -> None:
        self._stopping = True
        self._successors.clear()
        for feed in self._feeds.values():
            self._report(feed, feed.stop())

    def _abort(self) -> None:
        self._aborted = True


def _next_power_of_two(number: int) -> int:
    """So that a GPU's graphs see few shapes."""
    return 1 << (number - 1).bit_length()
