"""The options that several commands share, and what they mean together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect_cli.values import parse_classes, parse_thresholds

if TYPE_CHECKING:
    from avdetect.manifest import EventRule, Manifest
    from avdetect.runtime.prompts import Prompt

__all__ = [
    "OUTPUTS_PANEL",
    "BundleOption",
    "ClassesOption",
    "ClipsOption",
    "CooldownOption",
    "DeviceOption",
    "EventChoices",
    "FormatName",
    "FormatOption",
    "JsonFileOption",
    "JsonOption",
    "MergeGapOption",
    "MinDurationOption",
    "OneJsonOption",
    "OutputOption",
    "PromptOption",
    "QuietOption",
    "ReportOption",
    "ScoresOption",
    "ThresholdOption",
    "chosen_prompts",
]

_EVENTS = "What counts as an event"
OUTPUTS_PANEL = "Where results go"


class FormatName(StrEnum):
    """As in ``avdetect.sinks.formats``, which is too heavy to load for ``--help``."""

    JSONL = "jsonl"
    CSV = "csv"
    SRT = "srt"
    VTT = "vtt"
    AUDACITY = "audacity"
    RTTM = "rttm"


def _complete_classes(incomplete: str) -> list[str]:
    """The last name of ``a,b,c`` that is being typed, from the embedded bundle."""
    from avdetect.errors import BundleError
    from avdetect.runtime.bundle_files import default_bundle_path, read_manifest

    done, comma, _ = incomplete.rpartition(",")
    try:
        names = read_manifest(default_bundle_path()).class_names
    except BundleError:
        return []
    return [done + comma + name for name in names]


def _complete_device() -> list[str]:
    return ["auto", "cpu", "cuda", "cuda:0", "tensorrt"]


ThresholdOption = Annotated[
    list[str],
    typer.Option(
        "--threshold",
        "-t",
        metavar="NUMBER|CLASS=NUMBER",
        help="Probability from which on something is an event, for all classes or for one; may be repeated.",
        show_default="the bundle's, per class",
        rich_help_panel=_EVENTS,
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B,C",
        help="Only events of these classes; `avdetect bundle show` lists them.",
        autocompletion=_complete_classes,
        rich_help_panel=_EVENTS,
    ),
]
PromptOption = Annotated[
    list[str],
    typer.Option(
        "--prompt",
        "-p",
        metavar="PHRASE|NAME=PHRASE",
        help="Also find the sound that these words tell of, as a class called by the phrase or by NAME; may be "
        "repeated, with the same NAME for other words for the same.",
        rich_help_panel=_EVENTS,
    ),
]
MinDurationOption = Annotated[
    float | None,
    typer.Option("--min-duration", metavar="SECONDS", min=0, help="Drop shorter events.", rich_help_panel=_EVENTS),
]
MergeGapOption = Annotated[
    float | None,
    typer.Option(
        "--merge-gap",
        metavar="SECONDS",
        min=0,
        help="Make one event of two of a class that lie closer.",
        rich_help_panel=_EVENTS,
    ),
]
CooldownOption = Annotated[
    float | None,
    typer.Option(
        "--cooldown",
        metavar="SECONDS",
        min=0,
        help="After an event, wait this long before the next of its class.",
        rich_help_panel=_EVENTS,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON document per input and line, for programs.", rich_help_panel=OUTPUTS_PANEL),
]
OneJsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document in place of the table.", rich_help_panel=OUTPUTS_PANEL)
]
JsonFileOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE.json", help="Write the JSON document here.", rich_help_panel=OUTPUTS_PANEL
    ),
]
FormatOption = Annotated[
    FormatName | None,
    typer.Option("--format", "-f", help="The events alone, in this format.", rich_help_panel=OUTPUTS_PANEL),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Write the JSON or the events to this file, or the events of each input to a file in this folder.",
        show_default="standard output",
        rich_help_panel=OUTPUTS_PANEL,
    ),
]
ScoresOption = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="Save the score of every snippet: .csv, .parquet or .npz (the most exact; for `avdetect events`).",
        rich_help_panel=OUTPUTS_PANEL,
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Write a page with player, curves and events of all inputs.",
        rich_help_panel=OUTPUTS_PANEL,
    ),
]
ClipsOption = Annotated[
    Path | None,
    typer.Option(
        "--clips", metavar="FOLDER", help="Cut every event out into a file of its own.", rich_help_panel=OUTPUTS_PANEL
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no summary, no notes; only errors and what was asked for.")
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        metavar="PATH",
        help="The model: a bundle's folder or a .zip of one.",
        show_default="the embedded one",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]|tensorrt",
        help="Where the model runs; a device that is asked for and cannot be used is an error.",
        autocompletion=_complete_device,
    ),
]


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
        from avdetect.events.rules import rules_for, with_overrides

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
