"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avdetect_cli import tasks

__all__ = [
    "OUTPUTS_PANEL",
    "BundleOption",
    "ClassesOption",
    "ClipsOption",
    "CooldownOption",
    "DeviceOption",
    "FormatName",
    "FormatOption",
    "JobsOption",
    "JsonFileOption",
    "JsonOption",
    "ManifestArgument",
    "MergeGapOption",
    "MinDurationOption",
    "OneJsonOption",
    "OutputOption",
    "PromptOption",
    "QuietOption",
    "ReportOption",
    "ScoresOption",
    "SplitOption",
    "ThresholdOption",
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
    done, comma, _ = incomplete.rpartition(",")
    return [done + comma + name for name in tasks.choices.embedded_classes()]


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
        help="Find only events of these classes; `avdetect bundle show` lists them.",
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
    typer.Option(
        "--json", help="Print one JSON document per input and line, for programs.", rich_help_panel=OUTPUTS_PANEL
    ),
]
OneJsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document in place of the table.", rich_help_panel=OUTPUTS_PANEL)
]
JsonFileOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE.json", help="Write the JSON document here.", rich_help_panel=OUTPUTS_PANEL
    ),
]
FormatOption = Annotated[
    FormatName | None,
    typer.Option("--format", "-f", help="Write the events alone, in this format.", rich_help_panel=OUTPUTS_PANEL),
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
    bool,
    typer.Option(
        "--quiet", "-q", help="Show no progress, no summary and no notes; only errors and what was asked for."
    ),
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        metavar="PATH",
        help="Use this model: a bundle's folder or a .zip of one.",
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


ManifestArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LIST",
        help="What happens in the videos: a list as for training, with times if known.",
    ),
]


class Split(StrEnum):
    """As manifests name them."""

    TRAIN = "train"
    VAL = "val"


SplitOption = Annotated[
    Split | None,
    typer.Option("--split", help="Only the videos of this split of LIST.", show_default="all"),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="How many videos to score at once.")]
