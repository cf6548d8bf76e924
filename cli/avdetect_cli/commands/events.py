"""``avdetect events``: decide events again from saved scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect_cli.options import (
    BundleOption,
    ClassesOption,
    ClipsOption,
    CooldownOption,
    EventChoices,
    FormatOption,
    JsonOption,
    MergeGapOption,
    MinDurationOption,
    OutputOption,
    QuietOption,
    ReportOption,
    ScoresOption,
    ThresholdOption,
)

if TYPE_CHECKING:
    from avdetect.events.curve import ScoreCurve
    from avdetect.manifest import Manifest
    from avdetect.media.packets import MediaInfo
    from avdetect_cli.finding import Finding

__all__ = ["events"]


def events(
    file: Annotated[
        Path, typer.Argument(metavar="SCORES", help="What `avdetect score --scores` saved: .csv, .parquet or .npz.")
    ],
    threshold: ThresholdOption = [],  # noqa: B006 - typer copies it
    classes: ClassesOption = None,
    min_duration: MinDurationOption = None,
    merge_gap: MergeGapOption = None,
    cooldown: CooldownOption = None,
    json: JsonOption = False,
    format: FormatOption = None,  # noqa: A002 - the option's name
    output: OutputOption = None,
    scores: ScoresOption = None,
    report: ReportOption = None,
    clips: ClipsOption = None,
    bundle: BundleOption = None,
    quiet: QuietOption = False,
) -> None:
    """Decide events again from saved scores.

    Takes no time, for nothing is decoded: the way to try thresholds.
    What is not asked for comes from the bundle's rules; a class that the bundle does not know gets that of prompts.
    """
    from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
    from avdetect.sinks.scores import read_scores
    from avdetect_cli.delivery import deliver
    from avdetect_cli.outputs import OutputRequest, plan_outputs

    choices = EventChoices.parse(threshold, classes, min_duration, merge_gap, cooldown)
    curves = read_scores(file)
    request = OutputRequest(json, format, output, scores, report, clips, quiet)
    plan = plan_outputs(request, [curve.source for curve in curves], also_read=[file])
    manifest = read_manifest(default_bundle_path() if bundle is None else bundle)
    needs_media = plan.report is not None or plan.clips is not None
    deliver(
        (_decide(curve, choices, manifest, probed=needs_media) for curve in curves),
        plan,
        bundle=None,  # whose scores these are is not known
        on_thresholds=choices.on_thresholds(curves[0].classes, manifest),
    )


def _decide(curve: ScoreCurve, choices: EventChoices, manifest: Manifest, *, probed: bool) -> Finding:
    from avdetect.events.segmenter import decide_events
    from avdetect_cli.finding import Finding

    found = decide_events(curve, choices.rules(curve.classes, manifest))
    return Finding(curve.source, curve, tuple(found), media=_probe(curve.source) if probed else None)


def _probe(source: str) -> MediaInfo | None:
    """What the container says, where the file is still there: a report and clips need its clock."""
    from avdetect.errors import MediaError
    from avdetect.media.source import probe

    try:
        return probe(source) if Path(source).is_file() else None
    except MediaError:
        return None
