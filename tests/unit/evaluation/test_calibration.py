"""Tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.evaluation.calibration import Calibration, calibrate, fit_log_odds
from avdetect.evaluation.evaluate import evaluate
from avdetect.events.curve import Rescaling, ScoreCurve
from avdetect.labels.videos import LabelledVideo
from avdetect.manifest import EventRule, Manifest
from tests.unit.evaluation.synthetic import curve, happening, manifest, truth

Pairs = list[tuple[LabelledVideo, ScoreCurve]]
CLASSES = ("bang", "siren")
NUM_SNIPPETS = 100


def material(seed: int, *, num_videos: int = 12, timed: bool = True, occurring: Sequence[str] = CLASSES) -> Pairs:
    """Scores that are a little higher during events; every other video is normal. Snippets of a second."""
    random = np.random.default_rng(seed)
    pairs: Pairs = []
    for number in range(num_videos):
        logits = random.normal(-1.5, 1.2, (NUM_SNIPPETS, len(CLASSES)))
        events = []
        if number % 2:
            for name in occurring:
                first = int(random.integers(5, NUM_SNIPPETS - 10))
                events.append(happening(first, first + 4, name))
                logits[first : first + 4, CLASSES.index(name)] += 2.5
        known = truth(f"{number}", float(NUM_SNIPPETS), events)
        labels = truth(f"{number}", float(NUM_SNIPPETS), None, classes=sorted(known.classes))
        scores = 1 / (1 + np.exp(-logits))
        pairs.append(
            (known if timed or not events else labels, curve(f"{number}", CLASSES, scores.tolist(), hop_s=1.0))
        )
    return pairs


def rescored(pairs: Pairs, result: Calibration, before: Manifest) -> Pairs:
    """What the new bundle would give where the old one gave ``pairs``."""
    old, new = Rescaling.of(before.classes), Rescaling.of(result.manifest.classes)
    change = Rescaling(new.slope / old.slope, new.bias - new.slope / old.slope * old.bias)
    return [
        (video, curve(scores.source, CLASSES, change.apply(scores.scores).tolist(), hop_s=1.0))
        for video, scores in pairs
    ]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("allowed_per_hour", [0.0, 20.0, 200.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_new_bundle_keeps_to_the_allowance(seed: int, allowed_per_hour: float, timed: bool) -> None:
    before = manifest(*CLASSES, rule=EventRule(on=0.5, off=0.3, merge_gap_s=2.0))
    pairs = material(seed, timed=timed)

    result = calibrate(pairs, before, false_per_hour=allowed_per_hour, material="test")

    measured = evaluate(rescored(pairs, result, before), result.manifest).alarms.false_per_normal_hour
    assert measured == pytest.approx(result.false_per_hour)
    assert measured <= allowed_per_hour


def test_a_larger_allowance_notices_more() -> None:
    before, pairs = manifest(*CLASSES), material(0, num_videos=16)

    def noticed(allowed_per_hour: float) -> float:
        result = calibrate(pairs, before, false_per_hour=allowed_per_hour, material="test")
        return evaluate(rescored(pairs, result, before), result.manifest).alarms.detected_share

    assert noticed(0.0) < noticed(20.0) < 1.0


def test_probabilities_become_true() -> None:
    before, pairs = manifest(*CLASSES), material(1, num_videos=60)

    result = calibrate(pairs, before, false_per_hour=10.0, material="test")

    seconds = np.arange(NUM_SNIPPETS) + 0.5
    for column, name in enumerate(CLASSES):
        said, happened = [], []
        for video, scores in rescored(pairs, result, before):
            said.append(scores.scores[:, column])
            spans = video.spans_of(name)
            happened.append(np.any([(seconds > s.start_s) & (seconds < s.end_s) for s in spans] or [[False] * 100], 0))
        probability, positive = np.concatenate(said), np.concatenate(happened)
        assert probability.mean() == pytest.approx(positive.mean(), rel=0.05)
        sure = probability > 0.2
        assert probability[sure].mean() == pytest.approx(positive[sure].mean(), rel=0.15)


def test_what_was_fitted_before_is_refined_not_forgotten() -> None:
    plain, pairs = manifest(*CLASSES), material(2)
    once = calibrate(pairs, plain, false_per_hour=10.0, material="test")

    twice = calibrate(rescored(pairs, once, plain), once.manifest, false_per_hour=10.0, material="test")

    for first, second in zip(once.manifest.classes, twice.manifest.classes, strict=True):
        assert second.temperature == pytest.approx(first.temperature, rel=0.1)
        assert second.bias == pytest.approx(first.bias, abs=0.3)  # the pull is from where it stands


def test_a_class_that_never_occurs_is_raised_where_it_must_and_never_lowered() -> None:
    pairs = material(3, occurring=["bang"])

    strict, lax = (
        calibrate(pairs, manifest(*CLASSES), false_per_hour=rate, material="test").manifest.classes[1]
        for rate in (5.0, 2000.0)
    )

    assert (strict.temperature, strict.bias) == (1.0, 0.0)
    assert strict.rule.on > 0.5
    assert lax.rule.on == 0.5


def test_a_class_that_is_no_anomaly_stays_as_it_is() -> None:
    before = manifest(*CLASSES, anomaly=[True, False])

    after = calibrate(material(4), before, false_per_hour=10.0, material="test").manifest

    assert after.classes[1] == before.classes[1]
    assert after.classes[0] != before.classes[0]


def test_the_manifest_says_how_it_was_calibrated() -> None:
    result = calibrate(material(5), manifest(*CLASSES), false_per_hour=20.0, material="val.jsonl")

    after = Manifest.model_validate_json(result.manifest.model_dump_json())
    assert "at most 20 false alarms per hour" in after.calibration
    assert "val.jsonl" in after.calibration
    assert after.provenance["calibration"]["asked_false_per_hour"] == 20.0
    assert after.provenance["calibration"]["fitted_classes"] == ["bang", "siren"]


def test_without_a_normal_video_false_alarms_cannot_be_counted() -> None:
    positive = [pair for pair in material(0) if pair[0].positive]

    with pytest.raises(UsageError, match="no video without events"):
        calibrate(positive, manifest(*CLASSES), false_per_hour=1.0, material="test")


def test_a_detector_that_is_certain_where_nothing_happens_cannot_be_kept_quiet() -> None:
    pairs = [(truth("a", 10.0), curve("a", CLASSES, [[1.0, 0.0]] * 10, hop_s=1.0))]

    with pytest.raises(UsageError, match="no threshold keeps the false alarms low enough: 1 are left"):
        calibrate(pairs, manifest(*CLASSES), false_per_hour=1.0, material="test")


def test_scores_of_another_bundle_are_refused() -> None:
    with pytest.raises(UsageError, match="not of the classes"):
        calibrate(material(0), manifest("glass"), false_per_hour=1.0, material="test")


def test_log_odds_are_fitted_as_scikit_learn_fits_them() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    values = random.normal(0, 2, 20_000)
    positive = random.random(20_000) < 1 / (1 + np.exp(-(0.4 * values - 1.3)))

    slope, bias = fit_log_odds(values, positive)

    peer = linear_model.LogisticRegression(C=1e6).fit(values[:, None], positive)
    assert (slope, bias) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=2e-3)
    assert (slope, bias) == pytest.approx((0.4, -1.3), abs=0.05)


def test_few_examples_change_little() -> None:
    slope, bias = fit_log_odds(np.array([-3.0, 3.0]), np.array([False, True]))

    assert 1.0 < slope < 1.3
    assert bias == pytest.approx(0.0, abs=1e-6)


def test_scores_that_are_the_wrong_way_round_are_not_turned() -> None:
    values = np.linspace(-3, 3, 1000)

    slope, _ = fit_log_odds(values, values < 0)

    assert slope > 0
