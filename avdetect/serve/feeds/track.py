"""What is remembered of a feed: its detector, its open events and its gaps. Messages in, reports out."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from avdetect.events.event import Event, EventStage, FeedEvent, FeedGap, SnippetScore
from avdetect.events.segmenter import EventSegmenter
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import EventRule
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.scorer import live_scorer_for
from avdetect.serve.feeds.listener import ScoredSnippet
from avdetect.serve.feeds.messages import SnippetReady, StretchBegan
from avdetect.snippets.snippet import Snippet
from avdetect.stage import Stage
from avdetect.timebase import Span, snippet_span

__all__ = ["NOT_RUNNING", "NOT_WATCHED", "FeedTrack", "GapOver", "Report"]

DROPS_TOGETHER_S = 10.0
"""Snippets dropped within so much media time of each other are reported as one gap."""
_SAME_TIME_S = 1e-3
_SILENCE_DBFS = -100.0
"""The lowest level that is told."""
_AT_ONCE_S = 5.0
"""A feed that is there within so much time of being started was not missed."""
NOT_RUNNING = "not-running"
"""``FeedGap.reason`` of the time between two runs of the service."""
NOT_WATCHED = "not-watched"
"""The same of the time in which the service ran without the feed."""
_OURS = {NOT_RUNNING, NOT_WATCHED, "reconfigured"}
"""Reasons that end when the feed is started: what keeps it away from then on is another one."""


@dataclass(frozen=True, slots=True)
class GapOver:
    """The gap that was reported last has ended."""

    gap: FeedGap


Report = ScoredSnippet | FeedEvent | FeedGap | GapOver


@dataclass(frozen=True, slots=True)
class _Unscored:
    """A snippet that waits for its score."""

    received_unix_s: float
    level_dbfs: float | None


@dataclass(slots=True)
class _Stretch:
    """A run of media without a gap."""

    start_s: float
    """Media time of the feed at its origin."""
    origin_unix_s: float
    scorer: Stage[SnippetEmbedding, SnippetScore]
    next_index: int = 0

    def unix_s(self, feed_s: float) -> float:
        """Wall-clock time of a media time of the feed."""
        return self.origin_unix_s + (feed_s - self.start_s)


class FeedTrack:
    """Makes scores, events and gaps of what a feed's process sends.

    The detector starts anew with each stretch. The event decoder goes on, on the feed's own clock, so that a cooldown
    outlasts an outage; events end where the stretch does.

    Args:
        feed: its name.
        bundle: whose detector to run.
        rules: how scores become events, one per class; ``None`` for a class whose events are not wanted.
        update_interval_s: an open event is reported again when it has grown by this much.
        outage: a gap that has been reported already and lasts until the first media.
        began_unix_s: when the feed was started; ``None`` for now.
    """

    def __init__(
        self,
        feed: str,
        bundle: Bundle,
        rules: Sequence[EventRule | None],
        *,
        update_interval_s: float,
        outage: FeedGap | None = None,
        began_unix_s: float | None = None,
    ) -> None:
        self._feed = feed
        self._bundle = bundle
        self._update_interval_s = update_interval_s
        manifest = bundle.manifest
        self._segmenter = EventSegmenter(manifest.class_names, rules, manifest.hop_s)
        self._stretch: _Stretch | None = None
        self._unscored: deque[_Unscored] = deque()
        self._open: dict[tuple[str, float], FeedEvent] = {}
        self.stretch = 0
        """Number of the last stretch: what has just been reported is in it."""
        self.stretch_start_s = 0.0
        """Media time of the feed at its origin."""
        self._end_s = 0.0  # how far media have come in
        self._seen_end_s = 0.0  # how far they have been scored
        self._first_origin_unix_s: float | None = None
        self._shift_s: float | None = 0.0  # from the process's media time to the feed's; None in a new process
        self._outage = outage
        self._began_unix_s = time.time() if began_unix_s is None else began_unix_s
        self._drops: FeedGap | None = None
        self._last_drop_s = 0.0
        self.num_dropped_snippets = 0
        """Since the beginning."""
        self.known_until_unix_s: float | None = None
        """Up to when the last stretch, or the gap after it, came; ``None`` before there was one."""

    def process_started(self) -> None:
        """What follows comes from a new process, whose media time begins at 0 again."""
        if self._first_origin_unix_s is not None:
            self._shift_s = None

    def begin(self, began: StretchBegan) -> list[Report]:
        """The feed is there."""
        process_origin_unix_s = began.origin_unix_s - began.start_s
        if self._first_origin_unix_s is None:
            self._first_origin_unix_s = process_origin_unix_s
        if self._shift_s is None:
            self._shift_s = process_origin_unix_s - self._first_origin_unix_s
        start_s = max(began.start_s + self._shift_s, self._end_s)  # also where a wall clock was set back
        self._stretch = _Stretch(start_s, began.origin_unix_s, live_scorer_for(self._bundle))
        self.stretch, self.stretch_start_s = began.stretch, start_s
        self._unscored.clear()
        self._end_s = start_s
        reports: list[Report] = []
        if began.origin_unix_s - self._began_unix_s > _AT_ONCE_S:
            reports += self._leave_behind("connecting", "The feed was being connected to.")
        return reports + self._end_outage(began.origin_unix_s)

    def push(self, ready: SnippetReady, embedding: SnippetEmbedding, now_unix_s: float) -> list[Report]:
        """The next snippet of the stretch, and what the encoders made of it."""
        stretch = self._stretch
        if stretch is None:
            return []
        reports: list[Report] = []
        num_missing = embedding.index - stretch.next_index
        if num_missing > 0:
            reports += self._skip(stretch, num_missing, ready.received_unix_s, now_unix_s)
        reports += self._count_drops(stretch, ready.num_dropped, embedding.span)
        stretch.next_index = embedding.index + 1
        level_dbfs = self._level_dbfs(ready.snippet)
        reports += self._feed_detector(stretch, embedding, ready.received_unix_s, now_unix_s, level_dbfs)
        self._end_s = stretch.start_s + embedding.span.end_s
        return reports

    def end(self, now_unix_s: float, *, lost: bool) -> list[Report]:
        """The stretch has ended: score what waits, close what is open.

        Args:
            now_unix_s: wall-clock time.
            lost: whether there may be more that will not be seen; if not, the source itself has ended.
        """
        stretch, self._stretch = self._stretch, None
        if stretch is None:
            return []
        self.known_until_unix_s = stretch.unix_s(self._end_s)
        scores = stretch.scorer.flush()
        reports = self._decide(stretch, scores, now_unix_s, now_unix_s, lost=lost)
        reports += self._close(stretch, self._segmenter.flush(), lost=lost)
        return reports + self._end_drops(stretch)

    def lose(self, reason: str, message: str, now_unix_s: float) -> list[Report]:
        """The feed is not seen from here on; only the first reason of an outage is reported."""
        started_unix_s = self._stretch.unix_s(self._end_s) if self._stretch else now_unix_s
        reports = self.end(now_unix_s, lost=True)
        reports += self._leave_behind(reason, message)
        if self._outage is None:
            self._outage = FeedGap(self._feed, reason, message, self._end_s, _utc(started_unix_s))
            reports.append(self._outage)
        return reports

    def stop(self, now_unix_s: float, *, lost: bool) -> list[Report]:
        """Nobody watches the feed any more, or its source has ended: close events and gaps."""
        reports = self.end(now_unix_s, lost=lost)
        if self._outage is not None:
            self.known_until_unix_s = now_unix_s
        if now_unix_s - self._began_unix_s > _AT_ONCE_S:
            reports += self._leave_behind("connecting", "The feed was being connected to.")
        return reports + self._end_outage(now_unix_s)

    def change_rules(self, rules: Sequence[EventRule | None]) -> list[Report]:
        """Decide by other rules from now on; what is open stays open where it can."""
        closed = self._segmenter.change_rules(rules)
        return [] if self._stretch is None else self._close(self._stretch, closed, lost=False)

    def _leave_behind(self, reason: str, message: str) -> list[Report]:
        """Time that was nobody's fault but ours ended when the feed was started: what has come since is told apart."""
        outage = self._outage
        if outage is None or outage.reason not in _OURS:
            return []
        reports = self._end_outage(self._began_unix_s)
        self._outage = FeedGap(self._feed, reason, message, self._end_s, _utc(self._began_unix_s))
        return [*reports, self._outage]

    def _end_outage(self, unix_s: float) -> list[Report]:
        """The gap is over, but never before it began: a wall clock may have been set back."""
        outage, self._outage = self._outage, None
        return [] if outage is None else [GapOver(replace(outage, ended_at=max(_utc(unix_s), outage.started_at)))]

    def _skip(self, stretch: _Stretch, num_missing: int, received_unix_s: float, now_unix_s: float) -> list[Report]:
        """Tell the detector of snippets that were not seen; of more than it remembers, to forget all."""
        spec = self._bundle.manifest
        if stretch.next_index == 0:
            return []
        if num_missing > spec.left_context_snippets + spec.lookahead_snippets:
            reports = self._decide(stretch, stretch.scorer.flush(), now_unix_s, now_unix_s)
            stretch.scorer = live_scorer_for(self._bundle)
            self._unscored.clear()
            return reports + self._close(stretch, self._segmenter.flush(), lost=True)
        reports = []
        for index in range(stretch.next_index, stretch.next_index + num_missing):
            reports += self._feed_detector(stretch, self._absent(index), received_unix_s, now_unix_s)
        return reports

    def _feed_detector(
        self,
        stretch: _Stretch,
        embedding: SnippetEmbedding,
        received_unix_s: float,
        now_unix_s: float,
        level_dbfs: float | None = None,
    ) -> list[Report]:
        self._unscored.append(_Unscored(received_unix_s, level_dbfs))
        return self._decide(stretch, stretch.scorer.push(embedding), received_unix_s, now_unix_s)

    def _decide(
        self,
        stretch: _Stretch,
        scores: Iterable[SnippetScore],
        last_received_unix_s: float,
        now_unix_s: float,
        *,
        lost: bool = True,
    ) -> list[Report]:
        """Reports on scores and on the events that they open, carry on and close."""
        reports: list[Report] = []
        for score in scores:
            waited = self._unscored.popleft()
            span = Span(stretch.start_s + score.span.start_s, stretch.start_s + score.span.end_s)
            placed = replace(score, span=span)
            seen = score.audio_present or score.visual_present
            if seen:
                self._seen_end_s = span.end_s
            reports += self._close(stretch, self._segmenter.push(placed), lost=lost)
            if not seen:
                continue
            reports.append(
                ScoredSnippet(
                    self._feed,
                    placed,
                    stretch.unix_s(span.end_s),
                    latency_s=now_unix_s - waited.received_unix_s,
                    compute_s=now_unix_s - last_received_unix_s,
                    level_dbfs=waited.level_dbfs,
                )
            )
            reports += self._carry_on(stretch)
        return reports

    def _carry_on(self, stretch: _Stretch) -> list[Report]:
        """Reports on the events that are open."""
        reports: list[Report] = []
        for event in self._segmenter.open_events:
            known = self._open.get((event.class_name, event.start_s))
            if known is None or event.end_s - known.event.end_s >= self._update_interval_s - _SAME_TIME_S:
                reports.append(self._report(stretch, event, "opened" if known is None else "updated"))
        return reports

    def _close(self, stretch: _Stretch, events: Iterable[Event], *, lost: bool) -> list[Report]:
        """Reports on events that are over; one that nobody heard of yet is opened first."""
        reports: list[Report] = []
        for event in events:
            key = (event.class_name, event.start_s)
            if key not in self._open:
                reports.append(self._report(stretch, event, "opened"))
            interrupted = lost and event.end_s > self._seen_end_s - _SAME_TIME_S
            reports.append(replace(self._report(stretch, event, "closed"), interrupted=interrupted))
            del self._open[key]
        return reports

    def _report(self, stretch: _Stretch, event: Event, stage: EventStage) -> FeedEvent:
        known = self._open.get((event.class_name, event.start_s))
        report = FeedEvent(
            id=known.id if known else str(uuid.uuid4()),
            feed=self._feed,
            stage=stage,
            event=event,
            started_at=known.started_at if known else _utc(stretch.unix_s(event.start_s)),
            ended_at=_utc(stretch.unix_s(event.end_s)),
            peak_at=_utc(stretch.unix_s(event.peak_s)),
        )
        self._open[event.class_name, event.start_s] = report
        return report

    def _count_drops(self, stretch: _Stretch, num_dropped: int, span: Span) -> list[Report]:
        """One gap for all drops that lie close together: a machine that is too slow drops every few snippets."""
        start_s = stretch.start_s + span.start_s
        reports: list[Report] = []
        if self._drops is not None and start_s - self._last_drop_s > DROPS_TOGETHER_S:
            reports += self._end_drops(stretch)
        if num_dropped == 0:
            return reports
        self._last_drop_s = start_s
        self.num_dropped_snippets += num_dropped
        if self._drops is not None:
            self._drops = replace(self._drops, num_dropped_snippets=self._drops.num_dropped_snippets + num_dropped)
            return reports
        self._drops = FeedGap(
            self._feed,
            "dropped",
            "Snippets were given up because this machine does not keep up.",
            self._end_s,
            _utc(stretch.unix_s(self._end_s)),
            num_dropped_snippets=num_dropped,
        )
        return [*reports, self._drops]

    def _end_drops(self, stretch: _Stretch) -> list[Report]:
        drops, self._drops = self._drops, None
        return [] if drops is None else [GapOver(replace(drops, ended_at=_utc(stretch.unix_s(self._last_drop_s))))]

    def _level_dbfs(self, snippet: Snippet) -> float | None:
        """How loud the snippet's own hop is, from 0 for the loudest there can be; ``None`` without sound."""
        manifest = self._bundle.manifest
        if not snippet.audio_present or manifest.audio is None:
            return None
        samples = snippet.waveform[-round(manifest.hop * manifest.audio.rate_hz) :]
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        return max(10.0 * math.log10(power), _SILENCE_DBFS) if power > 0 else _SILENCE_DBFS

    def _absent(self, index: int) -> SnippetEmbedding:
        """A snippet of which nothing is known."""
        manifest = self._bundle.manifest
        return SnippetEmbedding(
            index,
            snippet_span(index, manifest.hop),
            np.zeros(manifest.audio_dim, np.float32),
            np.zeros(manifest.visual_dim, np.float32),
            audio_present=False,
            visual_present=False,
        )


def _utc(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
