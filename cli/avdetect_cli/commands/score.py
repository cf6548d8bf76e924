"""``avdetect score``: from files to events."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect_cli.options import (
    BundleOption,
    ClassesOption,
    ClipsOption,
    CooldownOption,
    DeviceOption,
    EventChoices,
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
    chosen_prompts,
)
from avdetect_cli.values import parse_time

if TYPE_CHECKING:
    from avdetect.runtime.pipeline import Progress, ScoreOptions
    from avdetect.runtime.prompts import Prompt
    from avdetect_cli.finding import Finding
    from avdetect_cli.outputs import OutputRequest

__all__ = ["score", "score_paths"]

_INPUT = "What is scored"


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
    from avdetect.runtime.pipeline import ScoreOptions
    from avdetect_cli.outputs import OutputRequest

    score_paths(
        paths,
        ScoreOptions(
            audio_track=audio_track,
            start_s=0.0 if start is None else parse_time(start, "--start"),
            duration_s=None if duration is None else parse_time(duration, "--duration"),
            decoder_threads=max((os.cpu_count() or 1) // jobs, 1),
        ),
        EventChoices.parse(threshold, classes, min_duration, merge_gap, cooldown),
        OutputRequest(json, format, output, scores, report, clips, quiet),
        prompts=chosen_prompts(prompt),
        bundle_path=bundle,
        device=device,
        jobs=jobs,
    )


def score_paths(
    paths: Sequence[str],
    options: ScoreOptions,
    choices: EventChoices,
    request: OutputRequest,
    *,
    prompts: Sequence[Prompt] = (),
    bundle_path: Path | None,
    device: str,
    jobs: int,
) -> None:
    """Check everything, then score everything.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single input.
        typer.Exit: some input failed, or the user interrupted.
    """
    from avdetect.runtime.bundle import Bundle
    from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
    from avdetect_cli.batch import Cancelled, in_order
    from avdetect_cli.delivery import deliver
    from avdetect_cli.finding import Finding
    from avdetect_cli.inputs import find_sources
    from avdetect_cli.outputs import plan_outputs
    from avdetect_cli.progress import ProgressDisplay

    sources, problems = find_sources(paths)
    plan = plan_outputs(request, sources)
    location = default_bundle_path() if bundle_path is None else bundle_path
    manifest = read_manifest(location)
    classes = (*manifest.class_names, *(prompt.name for prompt in prompts))
    rules = choices.rules(classes, manifest)
    bundle = None
    if sources:
        with ThreadPoolExecutor(1) as opener:  # onnxruntime opens the graphs while Python imports the rest
            loading = opener.submit(Bundle.load, location, prompts=prompts, device=device)
            from avdetect.media import file_source  # noqa: F401
            from avdetect.runtime import pipeline
        bundle = loading.result()
    display = ProgressDisplay(len(sources), enabled=sys.stderr.isatty() and not request.quiet)
    cancel = threading.Event()

    def work(source: str) -> Finding:
        def show(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            display.update(source, progress)

        try:
            return Finding.of(pipeline.score(source, bundle=bundle, options=options, rules=rules, on_progress=show))
        finally:
            display.finish(source)

    findings = chain(
        (Finding(path, error=str(error)) for path, error in problems),
        in_order(sources, work, Finding.failed, jobs=jobs, cancel=cancel),
    )
    try:
        deliver(
            findings,
            plan,
            bundle=manifest,
            on_thresholds=choices.on_thresholds(classes, manifest),
            aside=display.hidden,
        )
    finally:
        display.close()
