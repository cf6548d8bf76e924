"""What the operator wants of the event decoder, and which sounds it is told in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avdetect.errors import BundleError
from avdetect.events.rules import rules_for, with_overrides
from avdetect.manifest import EventRule, Manifest
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect_cli.values import parse_classes, parse_thresholds

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["EventChoices", "chosen_prompts", "embedded_classes"]


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


@dataclass(frozen=True, slots=True)
class EventChoices:
    """What the operator wants of the event decoder; ``None`` leaves the bundle's value."""

    threshold: float | None
    per_class: dict[str, float]
    only: list[str] | None
    min_duration_s: float | None
    merge_gap_s: float | None
    cooldown_s: float | None

    @staticmethod
    def parse(
        threshold: Sequence[str],
        classes: str | None,
        min_duration: float | None,
        merge_gap: float | None,
        cooldown: float | None,
    ) -> EventChoices:
        """From the options.

        Raises:
            UsageError: a threshold is no probability, or no class is named.
        """
        shared, per_class = parse_thresholds(threshold)
        return EventChoices(shared, per_class, parse_classes(classes), min_duration, merge_gap, cooldown)

    def on_thresholds(self, classes: Sequence[str], manifest: Manifest) -> dict[str, float]:
        """The probability at which an event opens, for each class whose events are wanted."""
        rules = zip(classes, self.rules(classes, manifest), strict=True)
        return {name: rule.on for name, rule in rules if rule is not None}

    def rules(self, classes: Sequence[str], manifest: Manifest) -> list[EventRule | None]:
        """The rules for ``classes``: the manifest's, with the choices laid over.

        Raises:
            UsageError: a class is unknown.
        """
        return with_overrides(
            rules_for(classes, manifest),
            classes,
            threshold=self.threshold,
            per_class=self.per_class,
            only=self.only,
            min_duration_s=self.min_duration_s,
            merge_gap_s=self.merge_gap_s,
            cooldown_s=self.cooldown_s,
        )
