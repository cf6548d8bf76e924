"""Tests."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.evaluation.frame_metrics import psds, require_sed_scores_eval
from avdetect.timebase import Span
from tests.unit.evaluation.synthetic import curve

pytestmark = pytest.mark.filterwarnings("ignore")  # of sed_scores_eval and what it imports


@pytest.fixture
def installed() -> None:
    pytest.importorskip("sed_scores_eval")


@pytest.mark.usefixtures("installed")
def test_scores_that_know_everything_have_the_highest_value() -> None:
    scores = [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    events = [{"bang": [Span(1, 3)], "siren": [Span(0, 1)]}]

    value = psds([curve("a", ["bang", "siren"], scores, hop_s=1.0)], events, [4.0], ["bang", "siren"])

    assert value == pytest.approx(1.0)


@pytest.mark.usefixtures("installed")
def test_an_event_that_is_missed_and_one_that_costs_false_alarms_lower_it() -> None:
    # At 0.9 the first event is found alone; at 0.5 the second as well, with one false detection in 60 s: 60 per hour.
    scores = np.zeros((60, 1))
    scores[10], scores[20], scores[30] = 0.9, 0.5, 0.5
    events = [{"bang": [Span(10, 11), Span(20, 21), Span(40, 41), Span(50, 51)]}]

    value = psds([curve("a", ["bang"], scores.tolist(), hop_s=1.0)], events, [60.0], ["bang"])

    assert value == pytest.approx(0.25 * 0.6 + 0.5 * 0.4, abs=0.01)


def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sed_scores_eval", None)

    with pytest.raises(UsageError, match=r"pip install 'avdetect\[evaluate\]'"):
        require_sed_scores_eval()
