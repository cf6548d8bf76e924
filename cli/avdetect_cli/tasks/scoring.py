"""From files, or from saved scores, to events in every output that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import MediaError
from avdetect.events.curve import ScoreCurve
from avdetect.events.rules import RuleOverrides
from avdetect.events.segmenter import decide_events
from avdetect.files import kind_of
from avdetect.manifest import Manifest
from avdetect.media.find_sources import find_sources
from avdetect.media.packets import MediaInfo
from avdetect.media.source import probe
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.sinks.scores import read_scores
from avdetect_cli.output.delivery import deliver
from avdetect_cli.output.plan import Finding, OutputRequest, plan_outputs
from avdetect_cli.terminal.progress import ProgressDisplay

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["decide_again", "score_paths"]


def score_paths(
    paths: Sequence[str],
    choices: RuleOverrides,
    request: OutputRequest,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    audio_track: int | None = None,
    prompts: Sequence[Prompt] = (),
    bundle_path: Path | None = None,
    device: str = "auto",
    jobs: int = 1,
) -> None:
    """Check everything, then score everything.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single input.
        typer.Exit: some input failed, or the user interrupted.
    """
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
        options = pipeline.ScoreOptions(
            audio_track=audio_track,
            start_s=start_s,
            duration_s=duration_s,
            decoder_threads=max((os.cpu_count() or 1) // jobs, 1),
        )
    display = ProgressDisplay(enabled=sys.stderr.isatty() and not request.quiet, quiet=request.quiet)
    scored = (
        pipeline.score_many(sources, bundle=bundle, options=options, rules=rules, jobs=jobs, listener=display)
        if sources
        else ()
    )
    findings = chain((Finding(path, error=str(error)) for path, error in problems), map(Finding.of, scored))
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


def decide_again(file: Path, choices: RuleOverrides, request: OutputRequest, *, bundle_path: Path | None) -> None:
    """Decide the events of saved scores by other rules.

    Raises:
        AvdetectError: The scores or the bundle cannot be read, or the request does not fit.
        typer.Exit: A result could not be written.
    """
    plan_outputs(request, [], also_read=[file])  # what is wrong whatever the file holds
    curves = read_scores(file)
    plan = plan_outputs(request, [curve.source for curve in curves], also_read=[file])
    manifest = read_manifest(default_bundle_path() if bundle_path is None else bundle_path)
    needs_media = plan.report is not None or plan.clips is not None
    deliver(
        (_decide(curve, choices, manifest, probed=needs_media) for curve in curves),
        plan,
        bundle=None,  # whose scores these are is not known
        on_thresholds=choices.on_thresholds(curves[0].classes, manifest),
    )


def _decide(curve: ScoreCurve, choices: RuleOverrides, manifest: Manifest, *, probed: bool) -> Finding:
    found = decide_events(curve, choices.rules(curve.classes, manifest))
    return Finding(curve.source, curve, tuple(found), media=_probe(curve.source) if probed else None)


def _probe(source: str) -> MediaInfo | None:
    """What the container says, where the file is still there: a report and clips need its clock."""
    try:
        return probe(source) if kind_of(Path(source)) == "file" else None
    except MediaError:
        return None
