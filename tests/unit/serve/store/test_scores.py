"""Scores that are kept, and what comes back of them to calibrate with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from avdetect.errors import StoreError
from avdetect.events.segmenter import decide_events
from avdetect.manifest import EventRule
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.store import ScoreBlock, Store
from avdetect.serve.store.retention import prune
from avdetect.serve.store.scores import ScoreKeeper, feed_scores
from tests.synth.reports import NOON, an_event

MANIFEST = read_manifest(default_bundle_path())
HOP_S = float(MANIFEST.hop)
NAMES = MANIFEST.class_names
NUM_SNIPPETS = 300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "events.sqlite3") as opened:
        yield opened


def curve(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((NUM_SNIPPETS, len(NAMES)), np.float32)


def keep(
    store: Store, scores: np.ndarray, feed: str = "yard", *, from_s: float = 0.0, bundle: str | None = None
) -> None:
    manifest = MANIFEST if bundle is None else MANIFEST.model_copy(update={"version": bundle})
    keeper = ScoreKeeper(store, manifest)
    for index, row in enumerate(scores):
        keeper.add(feed, NOON.timestamp() + from_s + (index + 1) * HOP_S, row, (index % 2 == 0, True))
    keeper.flush()


def test_the_curve_of_a_feed_comes_back(store: Store) -> None:
    scores = curve()
    keep(store, scores)

    [kept] = feed_scores(store)

    assert (kept.feed, kept.curve.classes) == ("yard", NAMES)
    assert kept.origin == NOON
    assert kept.bundle == f"{MANIFEST.name} {MANIFEST.version}"
    np.testing.assert_allclose(kept.curve.scores, scores, atol=1e-5)
    np.testing.assert_allclose(kept.curve.end_s, np.arange(1, NUM_SNIPPETS + 1) * HOP_S, atol=1e-5)
    np.testing.assert_allclose(kept.curve.start_s[1:], kept.curve.end_s[:-1], atol=1e-9)
    assert kept.curve.present[:2].tolist() == [[True, True], [False, True]]


def test_events_come_with_the_answers_that_were_given(store: Store) -> None:
    scores = np.full((NUM_SNIPPETS, len(NAMES)), 0.1, np.float32)
    column = NAMES.index("gunshot")
    scores[50:53, column] = 0.9
    scores[100:104, column] = 0.8
    keep(store, scores)
    [kept] = feed_scores(store)
    rules = [EventRule(on=0.5, off=0.3, merge_gap_s=0.0) if name == "gunshot" else None for name in NAMES]
    found = decide_events(kept.curve, rules)
    for number, (event, answer) in enumerate(zip(found, ("confirmed", "dismissed"), strict=True)):
        start, end = (NOON + timedelta(seconds=at) for at in (event.start_s, event.end_s))
        reported = replace(an_event(stage="closed"), id=str(number), event=event, started_at=start, ended_at=end)
        store.record_event(reported)
        store.set_answer(str(number), answer)  # type: ignore[arg-type]
    store.record_event(
        replace(an_event(stage="closed"), id="open", started_at=NOON, ended_at=NOON + timedelta(seconds=1))
    )
    later = NOON + timedelta(days=1)
    store.record_event(replace(an_event(stage="closed"), id="later", started_at=later, ended_at=later))

    [kept] = feed_scores(store)

    assert [span.answer for span in kept.events] == [None, "confirmed", "dismissed"]
    [confirmed], [dismissed] = kept.spans("confirmed"), kept.spans("dismissed")
    assert (confirmed.span.start_s, confirmed.span.end_s) == pytest.approx((50 * HOP_S, 53 * HOP_S), abs=1e-3)
    assert (dismissed.span.start_s, dismissed.span.end_s) == pytest.approx((100 * HOP_S, 104 * HOP_S), abs=1e-3)


def test_the_time_between_two_runs_is_a_hole_in_the_curve_and_no_event_reaches_across(store: Store) -> None:
    always = np.full((10, len(NAMES)), 0.9, np.float32)
    keep(store, always)
    keep(store, always, from_s=3600.0)

    [kept] = feed_scores(store)
    rules = [EventRule(on=0.5, off=0.3, merge_gap_s=0.0)] + [None] * (len(NAMES) - 1)
    spans = [(event.start_s, event.end_s) for event in decide_events(kept.curve, rules)]

    expected = [(0.0, 10 * HOP_S), (3600.0, 3600.0 + 10 * HOP_S)]
    assert spans == [pytest.approx(span, abs=1e-3) for span in expected]


def test_a_clock_that_was_set_back_leaves_a_curve_in_order(store: Store) -> None:
    keep(store, curve(1))
    keep(store, curve(2), from_s=-30.3)

    [kept] = feed_scores(store)

    assert (np.diff(kept.curve.end_s) > 0).all()
    assert (kept.curve.start_s[1:] >= kept.curve.end_s[:-1] - 1e-3).all()


def test_scores_of_two_feeds_and_of_two_bundles_come_apart(store: Store) -> None:
    keep(store, curve(1), "yard")
    keep(store, curve(2), "door")
    keep(store, curve(3), "door", from_s=600.0, bundle="2.0")

    found = [(kept.feed, kept.bundle.rpartition(" ")[2], len(kept.curve.start_s)) for kept in feed_scores(store)]

    assert sorted(found) == sorted(
        [
            ("door", MANIFEST.version, NUM_SNIPPETS),
            ("door", "2.0", NUM_SNIPPETS),
            ("yard", MANIFEST.version, NUM_SNIPPETS),
        ]
    )


def test_a_day_of_scores_takes_a_few_megabytes(store: Store) -> None:
    """As a detector gives them: low, and much like their neighbours."""
    calm = np.clip(0.05 + 0.02 * np.random.default_rng(1).standard_normal((NUM_SNIPPETS, len(NAMES))), 0, 1)
    keep(store, calm.astype(np.float32))
    num_bytes = sum(len(block.data) for block in store.score_blocks("yard"))

    assert num_bytes / (NUM_SNIPPETS * HOP_S) * 86400 < 4e6


def test_old_scores_make_room(store: Store, tmp_path: Path) -> None:
    keep(store, curve())
    pruned = prune(store, tmp_path / "clips", now=NOON + timedelta(days=8), scores_max_age=timedelta(days=7))

    assert pruned.num_score_blocks > 0
    assert list(feed_scores(store)) == []


def test_scores_go_before_events_where_there_is_too_much(store: Store, tmp_path: Path) -> None:
    store.record_event(an_event(stage="closed"))
    keep(store, curve())
    prune(store, tmp_path / "clips", now=NOON, max_bytes=store.size_bytes() - 1)

    assert list(feed_scores(store)) == []
    assert len(store.events()) == 1


def test_a_full_disk_loses_scores_but_holds_nothing_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(blocks: list[ScoreBlock]) -> None:
        raise StoreError("the disk is full.")

    monkeypatch.setattr(store, "put_scores", fail)
    keep(store, curve())

    assert "are lost: the disk is full." in caplog.text


def test_the_columns_say_what_they_are_of(store: Store) -> None:
    keep(store, curve())
    [columns] = {block.columns for block in store.score_blocks("yard")}

    assert json.loads(columns)["classes"] == list(NAMES)
