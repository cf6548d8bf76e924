"""``avdetect score``, ``events`` and ``demo``: from files, or saved scores, to events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import avdetect
from avdetect_cli import output as output_files
from avdetect_cli import tasks
from avdetect_cli.options import (
    BundleOption,
    ClassesOption,
    ClipsOption,
    CooldownOption,
    DeviceOption,
    FormatOption,
    JsonOption,
    MergeGapOption,
    MinDurationOption,
    OutputOption,
    PromptOption,
    QuietOption,
    ReportOption,
    ScoresOption,
    ThresholdOption,
)
from avdetect_cli.terminal.text import out
from avdetect_cli.values import parse_time

__all__ = ["EXAMPLES", "demo", "events", "score"]

_INPUT = "What is scored"

EXAMPLES = {
    "score": """\b
Examples:
  avdetect score video.mp4
  avdetect score video.mp4 --report video.html
  avdetect score videos/ --jobs 2 --format csv -o events.csv
  avdetect score "cam*/**/*.mkv" --json --quiet > results.jsonl
  avdetect score video.mp4 --threshold 0.6 --threshold gunshot=0.4
  avdetect score video.mp4 --scores video.npz
  ffmpeg -i rtsp://camera/1 -t 60 -c copy -f mpegts - | avdetect score -

Exit codes: 0 done, 1 some input failed, 2 misuse, 130 interrupted.
""",
    "events": """\b
Examples:
  avdetect score video.mp4 --scores video.npz
  avdetect events video.npz --threshold 0.3 --merge-gap 3
  avdetect events video.npz --classes siren,crash --format srt -o video.srt
""",
}
"""What help ends with, by the name of the function."""


def score(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders (to any depth), patterns such as 'cam*/*.mkv', URLs, or - for standard input.",
        ),
    ],
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="TIME", help="Begin here: seconds or [hh:]mm:ss.", rich_help_panel=_INPUT),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration", metavar="TIME", help="Score this much: seconds or [hh:]mm:ss.", rich_help_panel=_INPUT
        ),
    ] = None,
    audio_track: Annotated[
        int | None,
        typer.Option(
            "--audio-track",
            metavar="N",
            min=0,
            help="Which of several sound tracks to hear, from 0.",
            show_default="the one a player would choose",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    prompt: PromptOption = [],  # noqa: B006 - typer copies it
    threshold: ThresholdOption = [],  # noqa: B006
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
    device: DeviceOption = "auto",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, help="How many inputs to score at once.")
    ] = 1,
    quiet: QuietOption = False,
) -> None:
    """Find the events of videos and sound files.

    Memory does not grow with their length, unless the bundle has the offline form (`avdetect bundle show`): that looks
    at all of a file at once, and an hour takes about 3 GB.
    """
    tasks.scoring.score_paths(
        paths,
        tasks.choices.event_choices(threshold, classes, min_duration, merge_gap, cooldown),
        output_files.plan.OutputRequest(json, format, output, scores, report, clips, quiet),
        start_s=0.0 if start is None else parse_time(start, "--start"),
        duration_s=None if duration is None else parse_time(duration, "--duration"),
        audio_track=audio_track,
        prompts=tasks.choices.chosen_prompts(prompt),
        bundle_path=bundle,
        device=device,
        jobs=jobs,
    )


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
    tasks.scoring.decide_again(
        file,
        tasks.choices.event_choices(threshold, classes, min_duration, merge_gap, cooldown),
        output_files.plan.OutputRequest(json, format, output, scores, report, clips, quiet),
        bundle_path=bundle,
    )


def demo(
    json: JsonOption = False,
    report: ReportOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Score the real clip that ships with the package."""
    tasks.scoring.score_paths(
        [str(Path(avdetect.__file__).parent / "assets" / "demo.mp4")],
        tasks.choices.event_choices([], None, None, None, None),
        output_files.plan.OutputRequest(json=json, report=report, quiet=quiet),
        device=device,
    )
    if not (json or quiet or report):
        out("", "Next: avdetect score YOUR_VIDEO, or see it played: avdetect demo --report demo.html")
