"""``avdetect evaluate``, ``calibrate`` and ``evaluate-text``: how good a model is, and thresholds that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avdetect.errors import UsageError
from avdetect_cli import tasks
from avdetect_cli.options import (
    OUTPUTS_PANEL,
    BundleOption,
    DeviceOption,
    JobsOption,
    JsonFileOption,
    ManifestArgument,
    OneJsonOption,
    QuietOption,
    SplitOption,
)

__all__ = ["EXAMPLES", "calibrate", "evaluate", "evaluate_text"]

EXAMPLES = {
    "evaluate": """\b
Examples:
  avdetect evaluate bundle/ val.jsonl --page val.html --scores val.npz
  avdetect evaluate val.npz val.jsonl --bundle bundle/ --json
""",
    "calibrate": """\b
Examples:
  avdetect calibrate bundle/ val.jsonl --false-alarms-per-hour 1 -o calibrated/
""",
    "evaluate_text": """\b
Examples:
  avdetect evaluate-text run/alignment.safetensors tracks/tracks.jsonl
  avdetect evaluate-text bundle/ sounds.jsonl --prompts prompts.json --json
""",
}
"""What help ends with, by the name of the function."""


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A bundle's folder or a .zip of one, a checkpoint, or saved scores (.npz, .csv, .parquet).",
        ),
    ],
    manifest: ManifestArgument,
    json: OneJsonOption = False,
    output: JsonFileOption = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE.html",
            help="Write a page with curves, false alarms and missed events.",
            rich_help_panel=OUTPUTS_PANEL,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="Save the scores: .npz, .csv or .parquet; they can be evaluated again as MODEL.",
            rich_help_panel=OUTPUTS_PANEL,
        ),
    ] = None,
    worst: Annotated[
        int,
        typer.Option(
            "--worst",
            metavar="N",
            min=0,
            help="How many false alarms and missed events to list.",
            rich_help_panel=OUTPUTS_PANEL,
        ),
    ] = 20,
    psds: Annotated[
        bool, typer.Option("--psds", help="Compute PSDS too; needs pip install 'avdetect[evaluate]'.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="PATH",
            help="With saved scores: whose thresholds to use. With a checkpoint: whose encoders made its embeddings.",
            show_default="the embedded one",
        ),
    ] = None,
    split: SplitOption = None,
    device: DeviceOption = "auto",
    jobs: JobsOption = 1,
    quiet: QuietOption = False,
) -> None:
    """Measure how good a detector is.

    A network that was trained on features is given a list of them as LIST; scores of a video's crops are averaged.
    The thresholds are the bundle's; a checkpoint has general ones until `avdetect calibrate` finds better.
    """
    tasks.evaluating.evaluate(
        model,
        manifest,
        json=json,
        output=output,
        page=page,
        scores=scores,
        worst=worst,
        psds=psds,
        bundle=bundle,
        split=split,
        device=device,
        jobs=jobs,
        quiet=quiet,
    )


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder or a .zip of one.")],
    manifest: Annotated[
        Path | None,
        typer.Argument(metavar="[MANIFEST]", help="Labelled videos, as .csv, .jsonl or a folder; see docs/metrics.md."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="NEWBUNDLE", help="The folder of the bundle to write.")
    ] = ...,  # type: ignore[assignment]
    false_alarms_per_hour: Annotated[
        float | None,
        typer.Option("--false-alarms-per-hour", metavar="X", min=0, help="How many are allowed where nothing happens."),
    ] = None,
    false_alarms_per_day: Annotated[
        float | None, typer.Option("--false-alarms-per-day", metavar="X", min=0, help="The same, for a whole day.")
    ] = None,
    nothing_happens: Annotated[
        list[str],
        typer.Option(
            "--nothing-happens",
            metavar="PATH",
            help="Footage without labels in which nothing happened: a file, folder or pattern; may be repeated.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    kept: Annotated[
        Path | None,
        typer.Option(
            "--kept",
            metavar="STORE",
            help="The store of `avdetect serve`: the scores it has kept, with the answers given on its page.",
        ),
    ] = None,
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

    Writes a new bundle: the same graphs, another manifest, which says how it was calibrated. Labels of whole videos are
    enough; known times make the probabilities better. Without any label, some hours of ordinary life in which nothing
    happened keep it quiet: `--nothing-happens footage/ --false-alarms-per-day 1`.
    """
    if (false_alarms_per_hour is None) == (false_alarms_per_day is None):
        raise UsageError(
            "say how many false alarms are allowed: --false-alarms-per-hour X or --false-alarms-per-day X."
        )
    if manifest is None and not nothing_happens and kept is None:
        raise UsageError("there is nothing to calibrate with: name a MANIFEST, --nothing-happens or --kept.")
    per_hour = false_alarms_per_hour if false_alarms_per_hour is not None else (false_alarms_per_day or 0.0) / 24
    tasks.evaluating.calibrate(
        bundle,
        manifest,
        nothing_happens=nothing_happens,
        kept=kept,
        false_alarms_per_hour=per_hour,
        output=output,
        from_scores=from_scores,
        split=split,
        device=device,
        jobs=jobs,
        quiet=quiet,
    )


def evaluate_text(
    model: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT|BUNDLE", help="What `avdetect train-text` wrote, or a bundle with words."),
    ],
    manifest: Annotated[
        Path, typer.Argument(metavar="LIST", help="A .jsonl or .csv of recordings and texts (docs/text.md).")
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE.json",
            help="An object with phrases for each class.",
            show_default="the classes' names",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="The seed of the stories that order is measured with.")
    ] = 0,
    json: OneJsonOption = False,
    output: JsonFileOption = None,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Measure how good an alignment is: retrieval, order, localisation, false finds and classes, as far as the list
    says.

    A checkpoint is measured through the graphs that a bundle would hold. Records of the split train are left out.
    """
    tasks.measuring_text.evaluate_text(
        model,
        manifest,
        prompts=prompts,
        seed=seed,
        json=json,
        output=output,
        bundle=bundle,
        device=device,
        quiet=quiet,
    )
