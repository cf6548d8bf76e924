"""Probabilities that can be believed, and thresholds that keep false alarms rare.

1. Per class, a temperature and a bias on the log-odds: logistic regression of what happens on what the detector says.
   Where times are known, on snippets; else on videos, by their highest score. Drawn towards no change, so that a
   class with few examples is not bent to fit them.
2. The threshold: one probability for all classes, the lowest with which the alarms in the videos in which nothing
   happens stay within the allowance. A class that would go beyond it by itself has a higher one of its own; that of a
   class that never occurs is never lowered: nothing speaks for it. One number is all that so little material can
   tell: a threshold for each class, fitted to a handful of false alarms, does worse on other videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.evaluation.alarms import Detection, merge_into_alarms
from avdetect.evaluation.ranking import frames_inside
from avdetect.events.curve import Rescaling, ScoreCurve, log_odds
from avdetect.events.segmenter import decide_events
from avdetect.labels.videos import LabelledVideo
from avdetect.manifest import ClassSpec, EventRule, Manifest
from avdetect.timebase import Span

_MIN_POSITIVE_VIDEOS = 3
"""Number of positive videos that a class needs to have its probabilities fitted."""
_PRIOR_EXAMPLES = 1.0
"""Weight of the prior towards no change, in examples."""
_MIN_SLOPE = 0.05
_NEVER = 1.0
"""The threshold of a class that cannot be kept quiet."""
_LEVELS: Sequence[float] = np.round(1.0 / (1.0 + np.exp(np.linspace(-5.3, 2.2, 80))), 3).tolist()
"""The thresholds that are tried, 0.995 to 0.1, evenly spread in log-odds. What is less likely than the lowest is no
alarm, even if the material happens to hold nothing like it."""
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """A manifest with other temperatures, biases and thresholds, and what they cost."""

    manifest: Manifest
    fitted: tuple[str, ...]
    """The classes whose probabilities were fitted."""
    normal_hours: float
    """Hours of material in which nothing happens."""
    num_false: int
    """Alarms in it, with the new thresholds."""
    num_false_before: int

    @property
    def false_per_hour(self) -> float:
        """The rate with the new thresholds."""
        return self.num_false / self.normal_hours


def calibrate(
    pairs: Sequence[tuple[LabelledVideo, ScoreCurve]], manifest: Manifest, *, false_per_hour: float, material: str
) -> Calibration:
    """Fit the manifest's probabilities and thresholds to ``pairs``.

    Classes that do not count as anomaly stay as they are: they raise no alarm.

    Args:
        pairs: videos and their scores by the bundle of ``manifest``.
        manifest: whose rules and rescaling to start from.
        false_per_hour: false alarms that are allowed, per hour in which nothing happens.
        material: what ``pairs`` are, in a word, for the record.

    Raises:
        UsageError: the allowance is negative or cannot be met, the scores are of other classes, or something happens in
            every video.
    """
    if not false_per_hour >= 0:
        raise UsageError(f"false alarms per hour must not be negative, got {false_per_hour:g}.")
    if any(curve.classes != manifest.class_names for _, curve in pairs):
        raise UsageError(f"the scores are not of the classes of {manifest.name}: score the videos with this bundle.")
    normal = [(truth, curve) for truth, curve in pairs if not truth.positive]
    hours = sum(_duration_s(truth, curve) for truth, curve in normal) / _SECONDS_PER_HOUR
    if not hours > 0:
        raise UsageError("false alarms can only be counted where nothing happens: there is no video without events.")
    fits = {spec.name: _fit(pairs, spec.name) for spec in manifest.classes if spec.anomaly}
    fitted = manifest.model_copy(update={"classes": tuple(_refitted(spec, fits) for spec in manifest.classes)})
    change = _from_one_to_other(manifest, fitted)
    quiet = [replace(curve, scores=change.apply(curve.scores)) for _, curve in normal]
    occurring = frozenset(name for truth, _ in pairs for name in truth.classes)
    classes, num_false = _with_thresholds(quiet, fitted.classes, occurring, int(false_per_hour * hours + 1e-9))
    calibration = Calibration(
        manifest=fitted.model_copy(update={"classes": classes}),
        fitted=tuple(name for name, fit in fits.items() if fit is not None),
        normal_hours=hours,
        num_false=num_false,
        num_false_before=_num_alarms([curve for _, curve in normal], manifest.classes),
    )
    return replace(calibration, manifest=_recorded(calibration, false_per_hour, material))


def fit_log_odds(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """The slope and the bias for which ``slope * values + bias`` are the log-odds of ``positive``.

    Logistic regression by Newton's method, with a weak pull towards a slope of 1 and a bias of 0.

    Args:
        values: log-odds that the detector gave, ``(N,)``.
        positive: what is so, ``(N,)``.
    """
    x = np.column_stack([values, np.ones(len(values))])
    unchanged = np.array([1.0, 0.0])

    def loss(solution: NDArray[np.float64]) -> float:
        logit = x @ solution
        away = solution - unchanged
        return float((np.logaddexp(0.0, logit) - positive * logit).sum() + _PRIOR_EXAMPLES / 2 * away @ away)

    solution = unchanged
    for _ in range(50):
        probability = np.exp(-np.logaddexp(0.0, -(x @ solution)))
        gradient = x.T @ (probability - positive) + _PRIOR_EXAMPLES * (solution - unchanged)
        curvature = (x.T * (probability * (1.0 - probability))) @ x + _PRIOR_EXAMPLES * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        trials = [solution - length * step for length in 0.5 ** np.arange(12)]
        better = next((trial for trial in trials if loss(trial) < loss(solution)), None)
        if better is None:
            break
        solution = better
    return max(float(solution[0]), _MIN_SLOPE), float(solution[1])


def _fit(pairs: Sequence[tuple[LabelledVideo, ScoreCurve]], name: str) -> tuple[float, float] | None:
    """Slope and bias of a class; ``None`` where too few videos hold it."""
    # A video that is positive without a class may hold any.
    usable = [(truth, curve) for truth, curve in pairs if truth.classes or not truth.positive]
    timed = [(truth, curve) for truth, curve in usable if truth.events is not None]
    if sum(bool(truth.spans_of(name)) for truth, _ in timed) >= _MIN_POSITIVE_VIDEOS:
        values = [_class_log_odds(curve, name) for _, curve in timed]
        positive = [_snippets_inside(curve, truth.spans_of(name)) for truth, curve in timed]
        return fit_log_odds(np.concatenate(values), np.concatenate(positive))
    holds = np.array([name in truth.classes for truth, _ in usable])
    if holds.sum() < _MIN_POSITIVE_VIDEOS:
        return None
    return fit_log_odds(np.array([_class_log_odds(curve, name).max() for _, curve in usable]), holds)


def _class_log_odds(curve: ScoreCurve, name: str) -> NDArray[np.float64]:
    return log_odds(curve.scores[:, curve.classes.index(name)])


def _snippets_inside(curve: ScoreCurve, spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Tell for each snippet whether its middle lies in one of ``spans``."""
    return frames_inside(spans, (curve.start_s + curve.end_s) / 2)


def _duration_s(truth: LabelledVideo, curve: ScoreCurve) -> float:
    return float(curve.end_s[-1]) if truth.duration_s is None else truth.duration_s


def _refitted(spec: ClassSpec, fits: Mapping[str, tuple[float, float] | None]) -> ClassSpec:
    """``spec`` with what was fitted laid over what was there: ``slope * (z / temperature + spec.bias) + bias``."""
    slope, bias = fits.get(spec.name) or (1.0, 0.0)
    temperature, bias = spec.temperature / slope, slope * spec.bias + bias
    return spec.model_copy(update={"temperature": round(temperature, 4), "bias": round(bias, 4)})


def _from_one_to_other(before: Manifest, after: Manifest) -> Rescaling:
    """Return the rescaling from the scores of ``before`` to those of ``after``."""
    old, new = Rescaling.of(before.classes), Rescaling.of(after.classes)
    slope = new.slope / old.slope
    return Rescaling(slope, new.bias - slope * old.bias)


def _with_thresholds(
    quiet: Sequence[ScoreCurve], classes: Sequence[ClassSpec], occurring: frozenset[str], allowed: int
) -> tuple[tuple[ClassSpec, ...], int]:
    """``classes`` with the lowest thresholds that raise at most ``allowed`` alarms on ``quiet``; how many they do."""
    alone = {
        spec.name: _lowest_threshold(quiet, column, spec.rule, _levels(spec, occurring), allowed)
        for column, spec in enumerate(classes)
        if spec.anomaly
    }
    best: tuple[tuple[ClassSpec, ...], int] | None = None
    num_false = 0
    for level in (_NEVER, *_LEVELS):
        chosen = tuple(
            spec.model_copy(update={"rule": _opening_at(spec.rule, max(level, alone[spec.name]))})
            if spec.anomaly
            else spec
            for spec in classes
        )
        num_false = _num_alarms(quiet, chosen)
        if num_false > allowed:
            break
        best = chosen, num_false
    if best is None:
        raise UsageError(
            f"no threshold keeps the false alarms low enough: {num_false} are left that the detector is certain of, "
            f"{allowed} are allowed in this material."
        )
    return best


def _levels(spec: ClassSpec, occurring: frozenset[str]) -> Sequence[float]:
    """The thresholds to try, highest first; of a class that never occurs, none below its own."""
    if spec.name in occurring:
        return _LEVELS
    return [*(level for level in _LEVELS if level > spec.rule.on), spec.rule.on]


def _lowest_threshold(
    quiet: Sequence[ScoreCurve], column: int, rule: EventRule, levels: Sequence[float], most: int
) -> float:
    """The lowest level that gives no more than ``most`` detections on ``quiet``, nor does any above it."""
    threshold = _NEVER
    for level in levels:
        if sum(len(decide_events(curve, _only(column, _opening_at(rule, level), curve))) for curve in quiet) > most:
            break
        threshold = level
    return threshold


def _only(column: int, rule: EventRule, curve: ScoreCurve) -> list[EventRule | None]:
    """The rules by which only the class of ``column`` has events."""
    return [rule if number == column else None for number in range(len(curve.classes))]


def _opening_at(rule: EventRule, on: float) -> EventRule:
    """``rule`` with another threshold, the lower one in proportion."""
    ratio = rule.off / rule.on if rule.on > 0 else 1.0
    return rule.model_copy(update={"on": on, "off": min(round(on * ratio, 3), on)})


def _num_alarms(curves: Sequence[ScoreCurve], classes: Sequence[ClassSpec]) -> int:
    rules = [spec.rule if spec.anomaly else None for spec in classes]
    found = [[Detection.of(event, event.end_s) for event in decide_events(curve, rules)] for curve in curves]
    return sum(len(merge_into_alarms(detections)) for detections in found)


def _recorded(calibration: Calibration, asked: float, material: str) -> Manifest:
    """The manifest, saying how it was calibrated."""
    words = (
        f"Thresholds for at most {asked:g} false alarms per hour where nothing happens: {calibration.num_false} in the "
        f"{calibration.normal_hours:.2f} hours of {material} without events. Temperature and bias fitted to it for "
        f"{', '.join(calibration.fitted) or 'no class'}."
    )
    record = {
        "material": material,
        "asked_false_per_hour": asked,
        "found_false_per_hour": round(calibration.false_per_hour, 4),
        "normal_hours": round(calibration.normal_hours, 4),
        "fitted_classes": list(calibration.fitted),
    }
    provenance = {**calibration.manifest.provenance, "calibration": record}
    return calibration.manifest.model_copy(update={"calibration": words, "provenance": provenance})
