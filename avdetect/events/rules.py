"""The operator's wishes, laid over the rules that the bundle was calibrated with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from avdetect.errors import UsageError
from avdetect.manifest import EventRule, Manifest


def rules_for(classes: Sequence[str], manifest: Manifest) -> list[EventRule]:
    """The manifest's rule for each of ``classes``; for one it does not know that of prompts, or the general defaults.

    Saved scores may be of prompts that the bundle at hand does not hold, or come from another bundle.
    """
    known = {spec.name: spec.rule for spec in manifest.classes}
    other = EventRule() if manifest.alignment is None else manifest.alignment.prompt_rule
    return [known.get(name, other) for name in classes]


def with_overrides(
    rules: Sequence[EventRule],
    classes: Sequence[str],
    *,
    threshold: float | None = None,
    per_class: Mapping[str, float] | None = None,
    only: Sequence[str] | None = None,
    smooth_snippets: int | None = None,
    min_duration_s: float | None = None,
    merge_gap_s: float | None = None,
    cooldown_s: float | None = None,
) -> list[EventRule | None]:
    """``rules`` with what is not ``None`` replaced; ``None`` in the result for a class that is not wanted.

    Args:
        rules: one for each class.
        classes: their names.
        threshold: ``on`` of every class. ``off`` is scaled by the same factor, so that the hysteresis keeps its shape.
        per_class: ``on`` of single classes, before ``threshold``.
        only: the classes whose events are wanted; all where ``None``.
        smooth_snippets: replaces every rule's.
        min_duration_s: replaces every rule's.
        merge_gap_s: replaces every rule's.
        cooldown_s: replaces every rule's.

    Raises:
        UsageError: a class is unknown or a value out of its range.
    """
    thresholds = per_class or {}
    _check_known([*thresholds, *(only or ())], classes)
    shared = {
        "smooth_snippets": smooth_snippets,
        "min_duration_s": min_duration_s,
        "merge_gap_s": merge_gap_s,
        "cooldown_s": cooldown_s,
    }
    replaced = {field: value for field, value in shared.items() if value is not None}
    return [
        _with(rule, thresholds.get(name, threshold), replaced) if only is None or name in only else None
        for name, rule in zip(classes, rules, strict=True)
    ]


def _with(rule: EventRule, on: float | None, replaced: Mapping[str, float]) -> EventRule:
    values: dict[str, float] = {**rule.model_dump(), **replaced}
    if on is not None:
        ratio = rule.off / rule.on if rule.on > 0 else 1.0
        values |= {"on": on, "off": min(on * ratio, on)}
    try:
        return EventRule.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    """The first thing wrong, in the words of the command line."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if name in ("on", "off"):
        return f"a threshold must be a probability from 0 to 1, got {first['input']}."
    if name:
        return f"{name} cannot be {first['input']}: {first['msg'].lower()}."
    return f"{first['msg'].removeprefix('Value error, ')}."


def _check_known(names: Iterable[str], classes: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise UsageError(f"no class is called {', '.join(unknown)}; choose from {', '.join(classes)}.")
