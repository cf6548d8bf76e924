from __future__ import annotations

import pytest

from avdetect.errors import UsageError
from avdetect.events.rules import RuleOverrides, rules_for
from avdetect.manifest import ClassSpec, DetectorSpec, EventRule, FileEntry, Manifest

CLASSES = ("gunshot", "siren")
RULES = (EventRule(on=0.6, off=0.3), EventRule(on=0.2, off=0.1, merge_gap_s=5.0))


def test_without_overrides_the_rules_stay_as_they_are() -> None:
    assert RuleOverrides().apply(RULES, CLASSES) == list(RULES)


def test_a_threshold_keeps_the_ratio_of_off_to_on() -> None:
    changed = RuleOverrides.parse(threshold=0.8).apply(RULES, CLASSES)
    assert [(rule.on, rule.off) for rule in changed if rule] == [(0.8, 0.4), (0.8, 0.4)]


def test_a_threshold_of_one_class_goes_before_the_shared_one() -> None:
    changed = RuleOverrides.parse(threshold=0.8, thresholds={"siren": 0.5}).apply(RULES, CLASSES)
    assert [rule.on for rule in changed if rule] == [0.8, 0.5]


def test_a_threshold_replaces_one_of_zero() -> None:
    assert RuleOverrides(threshold=0.5).apply([EventRule(on=0.0, off=0.0)], ["a"]) == [EventRule(on=0.5, off=0.5)]


def test_classes_that_are_not_wanted_have_no_rule() -> None:
    assert RuleOverrides.parse(classes=["siren"]).apply(RULES, CLASSES) == [None, RULES[1]]


def test_durations_replace_those_of_every_rule() -> None:
    changed = RuleOverrides.parse(merge_gap_s=1.0, min_duration_s=2.0, cooldown_s=3.0, smooth_snippets=5).apply(
        RULES, CLASSES
    )
    assert {(r.merge_gap_s, r.min_duration_s, r.cooldown_s, r.smooth_snippets) for r in changed if r} == {(1, 2, 3, 5)}


def test_an_unknown_class_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no class is called sirens; choose from gunshot, siren"):
        RuleOverrides.parse(classes=["sirens"]).apply(RULES, CLASSES)
    with pytest.raises(UsageError, match="no class is called shot"):
        RuleOverrides.parse(thresholds={"shot": 0.5}).apply(RULES, CLASSES)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="a threshold must be a probability from 0 to 1"):
        RuleOverrides.parse(threshold=threshold).apply(RULES, CLASSES)


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(UsageError, match="merge_gap_s cannot be -1"):
        RuleOverrides.parse(merge_gap_s=-1.0).apply(RULES, CLASSES)


def test_an_even_smoothing_window_is_refused() -> None:
    with pytest.raises(UsageError, match="smooth_snippets must be odd, got 4"):
        RuleOverrides.parse(smooth_snippets=4).apply(RULES, CLASSES)


def test_saved_classes_take_the_rules_of_the_manifest_where_it_knows_them() -> None:
    manifest = Manifest(
        schema_version="1.0",
        name="b",
        version="1",
        created="2026-01-01T00:00:00Z",
        hop_s=0.64,
        classes=tuple(ClassSpec(name=name, rule=rule) for name, rule in zip(CLASSES, RULES, strict=True)),
        visual=None,
        motion=None,
        audio=None,
        detector=DetectorSpec(graph="d", left_context_snippets=0, lookahead_snippets=0, embedding_dim=1),
        files=(FileEntry(path="d", sha256="0" * 64, size=1),),
    )
    assert rules_for(["siren", "bark"], manifest) == [RULES[1], EventRule()]


def test_a_misspelt_choice_is_refused() -> None:
    with pytest.raises(UsageError, match="cooldown"):
        RuleOverrides.parse(cooldown=3.0)
