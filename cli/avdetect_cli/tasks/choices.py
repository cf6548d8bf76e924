"""What the operator wants of the event decoder, and which sounds it is told in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avdetect.errors import BundleError
from avdetect.events.rules import RuleOverrides
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect_cli.values import parse_classes, parse_thresholds

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["chosen_prompts", "embedded_classes", "event_choices"]


def embedded_classes() -> list[str]:
    """The classes of the embedded bundle, for completion; none where it cannot be read."""
    try:
        return list(read_manifest(default_bundle_path()).class_names)
    except BundleError:
        return []


def chosen_prompts(texts: Sequence[str]) -> tuple[Prompt, ...]:
    """What ``--prompt`` asks for.

    Raises:
        UsageError: one is no prompt.
    """
    if not texts:
        return ()
    from avdetect.runtime.prompts import parse_prompts  # only when asked: it takes time to import

    return parse_prompts(texts)


def event_choices(
    threshold: Sequence[str],
    classes: str | None,
    min_duration: float | None,
    merge_gap: float | None,
    cooldown: float | None,
) -> RuleOverrides:
    """What the options ask of the event decoder.

    Raises:
        UsageError: a threshold is no probability, no class is named, or a value is out of its range.
    """
    shared, per_class = parse_thresholds(threshold)
    return RuleOverrides.parse(
        threshold=shared,
        thresholds=per_class,
        classes=parse_classes(classes),
        min_duration_s=min_duration,
        merge_gap_s=merge_gap,
        cooldown_s=cooldown,
    )
