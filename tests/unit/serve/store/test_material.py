"""What a service has kept, as material to calibrate with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pytest

from avdetect.events.curve import ScoreCurve
from avdetect.serve.store.material import MARGIN_S, pieces_of
from avdetect.serve.store.scores import AnsweredSpan, FeedScores
from avdetect.timebase import Span

HOP_S = 0.5
NUM = 2000


def feed(*events: tuple[float, float, Literal["confirmed", "dismissed"] | None]) -> FeedScores:
    """A thousand seconds of one class, whose score says when the snippet was."""
    starts = np.arange(NUM) * HOP_S
    scores = (starts / 1000).astype(np.float32)[:, None]
    present = np.ones((NUM, 2), np.bool_)
    curve = ScoreCurve("yard", ("fight",), (True,), starts, starts + HOP_S, scores, scores, scores, present)
    spans = tuple(AnsweredSpan("fight", Span(start, end), answer) for start, end, answer in events)
    return FeedScores("yard", "b 1", curve, datetime.fromtimestamp(0, UTC), spans)


def test_a_confirmed_event_is_one_and_everything_else_is_quiet() -> None:
    before, around, after = pieces_of(feed((100.0, 110.0, "confirmed")))
    (truth, curve) = around
    assert [piece[0].positive for piece in (before, around, after)] == [False, True, False]
    assert truth.events is not None
    (event,) = truth.events
    assert event.span == Span(MARGIN_S, MARGIN_S + 10.0)
    # The score says when the snippet was: the event lies where its snippets do.
    inside = (curve.start_s >= event.span.start_s) & (curve.start_s < event.span.end_s)
    assert curve.scores[inside, 0] * 1000 == pytest.approx(np.arange(100.0, 110.0, HOP_S), abs=1e-3)


def test_a_dismissed_event_is_a_false_alarm_in_quiet_time() -> None:
    pieces = pieces_of(feed((300.0, 305.0, "dismissed")))
    pieces = list(pieces)
    assert not any(truth.positive for truth, _ in pieces)
    assert sum(len(curve.scores) for _, curve in pieces) == NUM


def test_nobody_knows_what_happened_around_an_event_without_an_answer() -> None:
    pieces = list(pieces_of(feed((600.0, 610.0, None), (615.0, 620.0, "confirmed"))))
    assert not any(truth.positive for truth, _ in pieces)
    seen = np.concatenate([curve.scores[:, 0] * 1000 for _, curve in pieces])
    assert not ((seen > 600.0 - MARGIN_S + 1) & (seen < 620.0 + MARGIN_S - 1)).any()
    assert sum(float(curve.end_s[-1]) for _, curve in pieces) == pytest.approx(1000.0 - 20.0 - 2 * MARGIN_S, abs=1.5)


def test_a_feed_without_events_is_quiet_from_beginning_to_end() -> None:
    ((truth, curve),) = pieces_of(feed())
    assert not truth.positive
    assert truth.duration_s == pytest.approx(1000.0)
    assert len(curve.scores) == NUM
