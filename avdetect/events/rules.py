"""The operator's wishes, laid over the rules that the bundle was calibrated with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avdetect.errors import UsageError
from avdetect.manifest import EventRule, Manifest, Probability, Seconds


class RuleOverrides(BaseModel):
    """Settings of the event decoder that an operator may choose; ``None`` leaves the bundle's value.

    A feed in the service's configuration has these very fields; the commands' options are named after them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    classes: tuple[str, ...] | None = None
    """The classes whose events are wanted; ``None`` for all."""
    threshold: Probability | None = None
    """The probability from which on something is an event. The rule's ``off`` is scaled by the same factor, so that the
    hysteresis keeps its shape."""
    thresholds: dict[str, Probability] = Field(default_factory=dict)
    """The same for single classes; they come before ``threshold``."""
    smooth_snippets: Annotated[int, Field(ge=1)] | None = None
    """Number of snippets in the centred mean, odd."""
    min_duration_s: Seconds | None = None
    """Shorter events are dropped."""
    merge_gap_s: Seconds | None = None
    """Events of a class that are closer than this become one."""
    cooldown_s: Seconds | None = None
    """The shortest time from the end of an event to the next one of its class."""

    @staticmethod
    def parse(**values: object) -> RuleOverrides:
        """Check values that a user gave.

        Raises:
            UsageError: one is out of its range.
        """
        try:
            return RuleOverrides.model_validate(values)
        except ValidationError as error:
            raise UsageError(_explain(error)) from error

    def apply(self, rules: Sequence[EventRule], classes: Sequence[str]) -> list[EventRule | None]:
        """``rules`` with what was chosen in place; ``None`` in the result for a class that is not wanted.

        Args:
            rules: one for each class.
            classes: their names.

        Raises:
            UsageError: a class is unknown, or the values do not go together.
        """
        _check_known([*self.thresholds, *(self.classes or ())], classes)
        shared = {
            "smooth_snippets": self.smooth_snippets,
            "min_duration_s": self.min_duration_s,
            "merge_gap_s": self.merge_gap_s,
            "cooldown_s": self.cooldown_s,
        }
        replaced = {field: value for field, value in shared.items() if value is not None}
        return [
            _with(rule, self.thresholds.get(name, self.threshold), replaced)
            if self.classes is None or name in self.classes
            else None
            for name, rule in zip(classes, rules, strict=True)
        ]

    def rules(self, classes: Sequence[str], manifest: Manifest) -> list[EventRule | None]:
        """The rules for ``classes``: the manifest's, with what was chosen in place; errors as for ``apply``."""
        return self.apply(rules_for(classes, manifest), classes)

    def on_thresholds(self, classes: Sequence[str], manifest: Manifest) -> dict[str, float]:
        """The probability at which an event opens, for each class whose events are wanted; errors as for ``apply``."""
        rules = zip(classes, self.rules(classes, manifest), strict=True)
        return {name: rule.on for name, rule in rules if rule is not None}


def rules_for(classes: Sequence[str], manifest: Manifest) -> list[EventRule]:
    """The manifest's rule for each of ``classes``; for one it does not know that of prompts, or the general defaults.

    Saved scores may be of prompts that the bundle at hand does not hold, or come from another bundle.
    """
    known = {spec.name: spec.rule for spec in manifest.classes}
    other = EventRule() if manifest.alignment is None else manifest.alignment.prompt_rule
    return [known.get(name, other) for name in classes]


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
    if name in ("on", "off", "threshold", "thresholds"):
        return f"a threshold must be a probability from 0 to 1, got {first['input']}."
    if name:
        return f"{name} cannot be {first['input']}: {first['msg'].lower()}."
    return f"{first['msg'].removeprefix('Value error, ')}."


def _check_known(names: Iterable[str], classes: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise UsageError(f"no class is called {', '.join(unknown)}; choose from {', '.join(classes)}.")
