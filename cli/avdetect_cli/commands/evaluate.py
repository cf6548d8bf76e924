"""``avdetect evaluate``: how good a detector is."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avdetect.errors import OutputError, UsageError
from avdetect_cli.options import (
    OUTPUTS_PANEL,
    DeviceOption,
    JsonFileOption,
    OneJsonOption,
    QuietOption,
)

__all__ = ["JobsOption", "ManifestArgument", "SplitOption", "evaluate"]

_PAGE_SUFFIXES = (".html", ".htm")

ManifestArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST",
        help="What happens in the videos: a manifest as for training, with times if known.",
    ),
]


class Split(StrEnum):
    """As manifests name them."""

    TRAIN = "train"
    VAL = "val"


SplitOption = Annotated[
    Split | None,
    typer.Option("--split", help="Only the videos of this split of MANIFEST.", show_default="all"),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="How many videos to score at once.")]


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

    A network that was trained on features is given a list of them as MANIFEST; scores of a video's crops are averaged.
    The thresholds are the bundle's; a checkpoint has general ones until `avdetect calibrate` finds better.
    """
    from importlib.metadata import version

    from avdetect.evaluation.evaluate import evaluate as measure
    from avdetect.evaluation.evaluate import pair_with_curves
    from avdetect.evaluation.frame_metrics import require_sed_scores_eval
    from avdetect.evaluation.page import write_page
    from avdetect.evaluation.result import evaluation_document
    from avdetect.sinks.scores import check_scores_path, write_scores
    from avdetect_cli.material import check_targets, is_scores_file, load_scores, read_videos

    check_targets({"-o": output, "--page": page, "--scores": scores}, read=[model, manifest])
    if page is not None and page.suffix.lower() not in _PAGE_SUFFIXES:
        raise UsageError(f"--page {page}: give the page a name that ends in .html.")
    if scores is not None:
        check_scores_path(scores)
    if psds:
        require_sed_scores_eval()
    videos = read_videos(manifest, split=split, files_must_exist=not is_scores_file(model), quiet=quiet)
    spec, curves = load_scores(model, videos, bundle=bundle, device=device, jobs=jobs, quiet=quiet)
    if scores is not None:
        write_scores(scores, curves)
    result = measure(pair_with_curves(videos, curves), spec, with_psds=psds)
    document = evaluation_document(
        result,
        manifest_path=str(manifest),
        bundle=None if is_scores_file(model) else spec,
        avdetect_version=version("avdetect"),
        num_worst=worst,
    )
    if output is not None:
        _write_json(output, document)
    if page is not None:
        write_page(page, result, subject=f"{model.name} on {manifest.name}", num_worst=worst)
    if json:
        typer.echo(_as_text(document))
    elif not quiet:
        from rich.console import Console

        from avdetect_cli.figures import show_evaluation

        show_evaluation(Console(), result)


def _as_text(document: Mapping[str, object]) -> str:
    return json_text.dumps(document, indent=2, allow_nan=False)


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    from avdetect.sinks.atomic import replacing

    with replacing(path) as temporary:
        try:
            temporary.write_text(_as_text(document) + "\n", "utf-8", newline="\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
