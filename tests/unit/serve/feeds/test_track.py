"""Scores, events and gaps of a feed, from messages made by hand; the detector is the real one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from avdetect.events.event import FeedEvent, FeedGap
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import EventRule
from avdetect.media.packets import MediaInfo
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.listener import ScoredSnippet
from avdetect.serve.feeds.messages import SnippetReady, StretchBegan
from avdetect.serve.feeds.track import FeedTrack, GapOver, Report
from avdetect.snippets.snippet import Snippet
from avdetect.timebase import snippet_span

ORIGIN_UNIX_S = 1_800_000_000.0
HOP_S = 0.64
ALWAYS = EventRule(on=0.0, off=0.0, merge_gap_s=0.0)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(device="cpu")


@pytest.fixture
def track(bundle: Bundle) -> FeedTrack:
    """Of its classes only the first is wanted, and that is always there."""
    return make_track(bundle, ALWAYS)


def make_track(bundle: Bundle, rule: EventRule) -> FeedTrack:
    rules = [rule, *[None] * (len(bundle.manifest.classes) - 1)]
    return FeedTrack("door", bundle, rules, update_interval_s=2.0)


def begin(track: FeedTrack, *, origin_s: float = 0.0, start_s: float = 0.0) -> list[Report]:
    return track.begin(StretchBegan(0, ORIGIN_UNIX_S + origin_s, start_s, MediaInfo("door")))


def push(track: FeedTrack, bundle: Bundle, indices: Iterable[int], *, num_dropped: int = 0) -> list[Report]:
    """Push snippets; ``num_dropped`` were given up before the first."""
    manifest = bundle.manifest
    reports: list[Report] = []
    for index in indices:
        span = snippet_span(index, manifest.hop)
        nothing = np.zeros((0, 1, 1), np.uint8)
        snippet = Snippet(
            index,
            span,
            np.zeros((0, 1, 1, 3), np.uint8),
            nothing,
            np.zeros(0, np.float32),
            np.zeros(1, np.float32),
            True,
            True,
        )
        audio, visual = np.zeros(manifest.audio_dim, np.float32), np.zeros(manifest.visual_dim, np.float32)
        embedding = SnippetEmbedding(index, span, audio, visual, audio_present=True, visual_present=True)
        received_unix_s = ORIGIN_UNIX_S + span.end_s + 0.1
        reports += track.push(SnippetReady(0, snippet, received_unix_s, num_dropped), embedding, received_unix_s + 0.05)
        num_dropped = 0
    return reports


def events(reports: Iterable[Report]) -> list[FeedEvent]:
    return [report for report in reports if isinstance(report, FeedEvent)]


def gaps(reports: Iterable[Report]) -> list[FeedGap]:
    return [report for report in reports if isinstance(report, FeedGap)]


def ended(reports: Iterable[Report]) -> list[FeedGap]:
    return [report.gap for report in reports if isinstance(report, GapOver)]


def scored(reports: Iterable[Report]) -> list[int]:
    return [report.score.index for report in reports if isinstance(report, ScoredSnippet)]


def test_a_score_comes_with_the_snippet_that_its_lookahead_needs(track: FeedTrack, bundle: Bundle) -> None:
    begin(track)
    reports = push(track, bundle, range(10))

    lookahead = bundle.manifest.detector.lookahead_snippets
    scores = [report for report in reports if isinstance(report, ScoredSnippet)]
    assert [score.score.index for score in scores] == list(range(10 - lookahead))
    assert scores[0].compute_s == pytest.approx(0.05)
    assert scores[0].latency_s == pytest.approx(0.05 + lookahead * HOP_S)
    assert scores[0].at_unix_s == pytest.approx(ORIGIN_UNIX_S + HOP_S)


def test_an_open_event_is_reported_again_when_it_has_grown(track: FeedTrack, bundle: Bundle) -> None:
    begin(track)
    found = events([*push(track, bundle, range(12)), *track.end(ORIGIN_UNIX_S + 12 * HOP_S, lost=False)])

    assert [event.stage for event in found] == ["opened", "updated", "updated", "closed"]
    ends_s = [event.event.end_s for event in found]
    assert np.diff(ends_s[:-1]) == pytest.approx([4 * HOP_S, 4 * HOP_S])
    assert not found[-1].interrupted


def test_an_outage_that_was_there_before_lasts_until_the_first_media(bundle: Bundle) -> None:
    outage = FeedGap("door", "not-running", "Off.", 0.0, datetime.fromtimestamp(ORIGIN_UNIX_S - 60, UTC))
    rules = [None] * len(bundle.manifest.classes)
    track = FeedTrack("door", bundle, rules, update_interval_s=2.0, outage=outage, began_unix_s=ORIGIN_UNIX_S - 2)

    assert ended(begin(track)) == [replace(outage, ended_at=datetime.fromtimestamp(ORIGIN_UNIX_S, UTC))]


def test_what_keeps_a_feed_away_once_the_service_runs_is_told_apart(bundle: Bundle) -> None:
    off = FeedGap("door", "not-running", "Off.", 0.0, datetime.fromtimestamp(ORIGIN_UNIX_S - 60, UTC))
    started = datetime.fromtimestamp(ORIGIN_UNIX_S - 20, UTC)
    rules = [None] * len(bundle.manifest.classes)
    track = FeedTrack("door", bundle, rules, update_interval_s=2.0, outage=off, began_unix_s=ORIGIN_UNIX_S - 20)

    first = track.lose("refused", "Connection refused.", ORIGIN_UNIX_S - 10)
    again = track.lose("timeout", "No answer.", ORIGIN_UNIX_S - 5)

    refused = FeedGap("door", "refused", "Connection refused.", 0.0, started)
    assert first == [GapOver(replace(off, ended_at=started)), refused]
    assert again == []
    assert ended(begin(track)) == [replace(refused, ended_at=datetime.fromtimestamp(ORIGIN_UNIX_S, UTC))]


def test_a_feed_that_takes_long_to_connect_to_was_not_seen_though_the_service_ran(bundle: Bundle) -> None:
    off = FeedGap("door", "not-running", "Off.", 0.0, datetime.fromtimestamp(ORIGIN_UNIX_S - 60, UTC))
    rules = [None] * len(bundle.manifest.classes)
    track = FeedTrack("door", bundle, rules, update_interval_s=2.0, outage=off, began_unix_s=ORIGIN_UNIX_S - 9)

    reports = begin(track)

    assert [gap.reason for gap in ended(reports)] == ["not-running", "connecting"]
    assert [gap.started_at.timestamp() - ORIGIN_UNIX_S for gap in ended(reports)] == [-60, -9]
    assert [gap.ended_at.timestamp() - ORIGIN_UNIX_S for gap in ended(reports) if gap.ended_at] == [-9, 0]


def test_it_is_known_up_to_when_a_feed_was_watched(track: FeedTrack, bundle: Bundle) -> None:
    assert track.known_until_unix_s is None
    begin(track)
    push(track, bundle, range(5))
    track.stop(ORIGIN_UNIX_S + 9, lost=True)
    assert track.known_until_unix_s == pytest.approx(ORIGIN_UNIX_S + 5 * HOP_S)

    track.lose("stalled", "Nothing came.", ORIGIN_UNIX_S + 20)
    track.stop(ORIGIN_UNIX_S + 30, lost=True)
    assert track.known_until_unix_s == ORIGIN_UNIX_S + 30


def test_media_time_goes_on_after_a_new_process_and_an_outage_counts(track: FeedTrack, bundle: Bundle) -> None:
    begin(track)
    push(track, bundle, range(5))
    [gap] = gaps(track.lose("crashed", "Gone.", ORIGIN_UNIX_S + 4.0))
    track.process_started()
    [over] = ended(begin(track, origin_s=60.0))
    [event, *_] = events(push(track, bundle, range(5)))

    assert gap.start_s == pytest.approx(5 * HOP_S)
    assert over.ended_at is not None
    assert over.ended_at.timestamp() == ORIGIN_UNIX_S + 60
    assert event.event.start_s == pytest.approx(60.0)
    assert event.started_at.timestamp() == pytest.approx(ORIGIN_UNIX_S + 60.0)


def test_media_time_never_goes_back_where_the_wall_clock_does(track: FeedTrack, bundle: Bundle) -> None:
    begin(track)
    push(track, bundle, range(10))
    track.lose("crashed", "Gone.", ORIGIN_UNIX_S)
    track.process_started()
    [over] = ended(begin(track, origin_s=-3600.0))
    [event, *_] = events(push(track, bundle, range(5)))

    assert over.ended_at == over.started_at
    assert event.event.start_s == pytest.approx(10 * HOP_S)


def test_an_outage_is_one_gap_however_often_connecting_fails(track: FeedTrack) -> None:
    reports = [*track.lose("refused", "First.", ORIGIN_UNIX_S), *track.lose("timeout", "Second.", ORIGIN_UNIX_S + 9)]

    [gap] = gaps(reports)
    assert (gap.reason, gap.started_at.timestamp(), gap.start_s) == ("refused", ORIGIN_UNIX_S, 0.0)


@pytest.mark.parametrize("num_dropped", [1, 3, 500])
def test_dropped_snippets_end_the_event_and_are_never_scored(
    track: FeedTrack, bundle: Bundle, num_dropped: int
) -> None:
    begin(track)
    push(track, bundle, range(8))
    later = range(8 + num_dropped, 16 + num_dropped)
    reports = push(track, bundle, later, num_dropped=num_dropped)

    [gap] = gaps(reports)
    assert (gap.reason, gap.num_dropped_snippets, gap.start_s) == ("dropped", num_dropped, pytest.approx(8 * HOP_S))
    closed, opened = [event for event in events(reports) if event.stage in ("closed", "opened")]
    assert (closed.event.end_s, closed.interrupted) == (pytest.approx(8 * HOP_S), True)
    assert opened.event.start_s == pytest.approx((8 + num_dropped) * HOP_S)
    assert set(scored(reports)) <= {*range(8), *later}


def test_drops_that_lie_together_are_one_gap(track: FeedTrack, bundle: Bundle) -> None:
    begin(track)
    reports = push(track, bundle, range(4))
    for first in (5, 9, 13):
        reports += push(track, bundle, range(first, first + 3), num_dropped=1)
    reports += push(track, bundle, range(16, 40))

    assert len(gaps(reports)) == 1
    [over] = ended(reports)
    assert over.num_dropped_snippets == 3
    assert track.num_dropped_snippets == 3


def test_a_cooldown_outlasts_an_outage(bundle: Bundle) -> None:
    track = make_track(bundle, ALWAYS.model_copy(update={"cooldown_s": 30.0}))
    begin(track)
    push(track, bundle, range(5))
    track.lose("stalled", "Gone.", ORIGIN_UNIX_S + 5)

    begin(track, origin_s=10.0, start_s=10.0)
    soon = events(push(track, bundle, range(10)))
    track.lose("stalled", "Gone.", ORIGIN_UNIX_S + 20)
    begin(track, origin_s=60.0, start_s=60.0)
    late = events(push(track, bundle, range(10)))

    assert soon == []
    assert late[0].stage == "opened"


def test_nothing_is_said_of_snippets_after_the_end(track: FeedTrack, bundle: Bundle) -> None:
    begin(track)
    push(track, bundle, range(3))
    track.end(ORIGIN_UNIX_S, lost=True)

    assert push(track, bundle, range(3, 6)) == []
