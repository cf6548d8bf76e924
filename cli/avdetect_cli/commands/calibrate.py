"""``avdetect calibrate``: a bundle whose false alarms are as rare as you like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect.errors import UsageError
from avdetect_cli.commands.evaluate import JobsOption, ManifestArgument, SplitOption
from avdetect_cli.options import DeviceOption, QuietOption

if TYPE_CHECKING:
    from avdetect.evaluation.calibration import Calibration
    from avdetect.manifest import Manifest

__all__ = ["calibrate"]


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder or a .zip of one.")],
    manifest: ManifestArgument,
    false_alarms_per_hour: Annotated[
        float,
        typer.Option("--false-alarms-per-hour", metavar="X", min=0, help="How many are allowed where nothing happens."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="NEWBUNDLE", help="The folder of the bundle to write.")
    ],
    from_scores: Annotated[
        Path | None,
        typer.Option(
            "--from-scores",
            metavar="FILE",
            help="Scores of the videos by this very bundle, saved by `avdetect evaluate --scores`.",
        ),
    ] = None,
    split: SplitOption = None,
    device: DeviceOption = "auto",
    jobs: JobsOption = 1,
    quiet: QuietOption = False,
) -> None:
    """Fit probabilities and thresholds to an allowance of false alarms.

    Writes a new bundle: the same graphs, another manifest, which says how it was calibrated.
    Labels of whole videos are enough; known times make the probabilities better.
    """
    from avdetect.evaluation.calibration import calibrate as fit
    from avdetect.evaluation.evaluate import pair_with_curves
    from avdetect.runtime.bundle_files import open_bundle_files
    from avdetect_cli.material import is_scores_file, load_scores, read_videos
    from avdetect_export.bundle_writer import check_bundle_target, file_entries, write_bundle

    if output.resolve() == bundle.resolve():
        raise UsageError(f"-o {output} is the bundle itself: name another folder for the calibrated one.")
    if from_scores is not None and not is_scores_file(from_scores):
        raise UsageError(f"--from-scores {from_scores}: saved scores end in .npz, .csv or .parquet.")
    check_bundle_target(output)
    videos = read_videos(manifest, split=split, files_must_exist=from_scores is None, quiet=quiet)
    with open_bundle_files(bundle) as files:
        spec, contents = files.manifest, {entry.path: files.read(entry) for entry in files.manifest.files}
    _, curves = load_scores(
        bundle if from_scores is None else from_scores,
        videos,
        bundle=None if from_scores is None else bundle,
        device=device,
        jobs=jobs,
        quiet=quiet,
    )
    result = fit(pair_with_curves(videos, curves), spec, false_per_hour=false_alarms_per_hour, material=manifest.name)
    write_bundle(output, result.manifest.model_copy(update={"files": file_entries(contents)}), contents)
    if not quiet:
        typer.echo("\n".join(_describe(spec, result, false_alarms_per_hour)))
        typer.echo(f"\nWritten to {output}.")


def _describe(before: Manifest, result: Calibration, asked: float) -> Iterator[str]:
    width = max(len("class"), *(len(name) for name in before.class_names))
    yield f"{'class':<{width}}  temperature    bias      on was     off was"
    for old, new in zip(before.classes, result.manifest.classes, strict=True):
        yield (
            f"{new.name:<{width}}  {new.temperature:>11.3f}  {new.bias:>6.2f}  {new.rule.on:.2f}  {old.rule.on:.2f}  "
            f"{new.rule.off:.2f}  {old.rule.off:.2f}"
        )
    yield ""
    yield (
        f"False alarms in {result.normal_hours:.2f} hours without events: {result.num_false} "
        f"({result.false_per_hour:.2f} per hour), were {result.num_false_before}."
    )
    if asked * result.normal_hours < 1.0:
        yield (
            f"Note: so little material cannot show a rate below {1.0 / result.normal_hours:.1f} per hour; "
            "calibrate on more hours in which nothing happens."
        )
