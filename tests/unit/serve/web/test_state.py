from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from avdetect.events.event import SnippetScore
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.config import LogSettings
from avdetect.serve.feeds.listener import FeedStatus, ScoredSnippet
from avdetect.serve.logs import configure_logging
from avdetect.serve.web.state import HISTORY_S, MAX_PENDING_CHANGES, ServiceState
from avdetect.timebase import Span

RUNNING = FeedStatus("door", "running", datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def state() -> ServiceState:
    made = ServiceState(read_manifest(default_bundle_path()))
    made.set_feed(RUNNING, ["siren"])
    return made


def scored(state: ServiceState, at_unix_s: float, *, heard: bool = True) -> ScoredSnippet:
    values = np.full(len(state.classes), 0.123456, np.float32)
    score = SnippetScore(0, Span(0.0, 0.64), values, values, values, audio_present=heard, visual_present=True)
    return ScoredSnippet("door", score, at_unix_s, latency_s=0.7, compute_s=0.05)


def test_a_feed_shows_the_classes_that_are_wanted_and_its_latency(state: ServiceState) -> None:
    state.on_score(scored(state, 1000.0))

    [feed] = state.feeds()
    assert [entry.name for entry in feed.classes] == ["siren"]
    assert feed.as_dict()["latency_s"] == 0.7
    assert json.dumps(feed.as_dict())


def test_the_history_is_bounded_in_time_and_can_be_continued(state: ServiceState) -> None:
    for at_s in (0.0, 1.0, HISTORY_S, HISTORY_S + 2.0):
        state.on_score(scored(state, at_s, heard=at_s > 1))

    rows = state.history("door")
    assert [row.at_unix_s for row in rows] == [HISTORY_S, HISTORY_S + 2.0]
    assert rows[0].fused[0] == 0.1235
    assert state.history("door", after=rows[0].sequence) == rows[1:]


def test_what_was_not_heard_is_told_apart_from_silence(state: ServiceState) -> None:
    state.on_score(scored(state, 0.0, heard=False))

    [row] = state.history("door")
    assert row.audio is None
    assert row.visual is not None


def test_subscribers_get_changes_in_order_and_may_leave(state: ServiceState) -> None:
    woken: list[bool] = []
    with state.subscribe(lambda: woken.append(True)) as subscription:
        state.on_state(RUNNING)
        state.on_score(scored(state, 0.0))
        changes = subscription.take()
    state.on_state(RUNNING)

    assert [change.kind for change in changes] == ["state", "score"]
    assert changes[1].sequence == changes[0].sequence + 1
    assert subscription.take() == []
    assert len(woken) == 2


def test_who_does_not_keep_up_loses_the_oldest(state: ServiceState) -> None:
    with state.subscribe(lambda: None) as subscription:
        for _ in range(MAX_PENDING_CHANGES + 5):
            state.on_state(RUNNING)
        changes = subscription.take()

    assert len(changes) == MAX_PENDING_CHANGES
    assert changes[-1].sequence - changes[0].sequence == MAX_PENDING_CHANGES - 1


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_log_never_shows_credentials(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    configure_logging(LogSettings.model_validate({"format": form}))
    try:
        raise ValueError("rtsp://user:hunter2@camera/1 is gone")
    except ValueError:
        root_logger.exception("cannot open %s", "rtsp://user:hunter2@camera/1")

    [line, *_] = capsys.readouterr().err.splitlines()
    assert "hunter2" not in line
    if form == "json":
        entry = json.loads(line)
        assert (entry["level"], entry["message"]) == ("error", "cannot open rtsp://***@camera/1")
        assert "hunter2" not in entry["exception"]
