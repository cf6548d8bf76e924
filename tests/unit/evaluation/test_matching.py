from __future__ import annotations

import numpy as np
import pytest

from avdetect.evaluation.matching import MatchCounts, ious, match, overlaps
from avdetect.timebase import Span


def test_overlap_is_intersection_over_union() -> None:
    found = ious([Span(0, 4), Span(10, 11)], [Span(2, 6), Span(0, 4)])

    np.testing.assert_allclose(found, [[2 / 6, 1], [0, 0]])


def test_spans_that_only_touch_do_not_overlap() -> None:
    assert not overlaps([Span(0, 1)], [Span(1, 2)]).any()


def test_the_best_score_takes_the_event_and_a_second_detection_of_it_is_false() -> None:
    pairs = match([Span(0, 4), Span(0, 5)], [0.4, 0.9], [Span(0, 4)], min_iou=0.5)

    assert pairs == [None, 0]


def test_a_detection_takes_the_free_event_it_overlaps_most() -> None:
    pairs = match([Span(0, 10), Span(0, 9)], [0.9, 0.8], [Span(0, 10), Span(4, 10)], min_iou=0.3)

    assert pairs == [0, 1]


def test_an_overlap_of_exactly_the_asked_share_counts() -> None:
    assert match([Span(0, 0.3)], [1.0], [Span(0, 1.0)], min_iou=0.3) == [0]
    assert match([Span(0, 0.29)], [1.0], [Span(0, 1.0)], min_iou=0.3) == [None]


def test_f1_by_hand() -> None:
    counts = MatchCounts(2, 4, 5) + MatchCounts(1, 1, 1)

    assert (counts.precision, counts.recall) == (3 / 5, 3 / 6)
    assert counts.f1 == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert MatchCounts().f1 == 0.0


@pytest.mark.filterwarnings("ignore")  # sed_eval and what it imports
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("min_iou", [0.3, 0.5])
def test_counts_agree_with_sed_eval_where_both_define_the_same(seed: int, min_iou: float) -> None:
    """Spans of one length L overlap by at least ``u`` exactly when their starts differ by at most L (1 - u) / (1 + u):
    then a collar around the start and the end asks for the same as the overlap.
    """
    sed_eval = pytest.importorskip("sed_eval")
    random = np.random.default_rng(seed)
    length_s = 4.0
    starts = np.arange(12) * 20.0
    true = [Span(start, start + length_s) for start in starts[random.random(12) < 0.8]]
    shifted = starts[random.random(12) < 0.8]
    shifted = shifted + random.uniform(-length_s, length_s, shifted.size)
    found = [Span(max(start, 0.0), max(start, 0.0) + length_s) for start in shifted]
    metrics = sed_eval.sound_event.EventBasedMetrics(
        ["event"], t_collar=length_s * (1 - min_iou) / (1 + min_iou), percentage_of_length=0.0
    )
    metrics.evaluate(*([_entry(span) for span in spans] for spans in (true, found)))

    pairs = match(found, random.random(len(found)).tolist(), true, min_iou=min_iou)

    counts = MatchCounts(sum(pair is not None for pair in pairs), len(found), len(true))
    theirs = metrics.results_overall_metrics()["f_measure"]
    assert 0 < counts.num_matched < len(found)
    assert counts.f1 == pytest.approx(theirs["f_measure"])
    assert (counts.precision, counts.recall) == pytest.approx((theirs["precision"], theirs["recall"]))


def _entry(span: Span) -> dict[str, object]:
    return {"filename": "a", "event_label": "event", "onset": span.start_s, "offset": span.end_s}
