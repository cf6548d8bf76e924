"""``avdetect extract``: the embeddings of a data set's videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avdetect_cli.options import BundleOption, DeviceOption, QuietOption
from avdetect_cli.training import check_installed, extraction_progress, open_encoders, say

__all__ = ["extract"]


def extract(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="A .csv or .jsonl of videos, or a folder with one per class.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the embeddings go.")],
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, help="How many videos at once.", show_default="one per processor"
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Make the embeddings of videos, those that the detector will see.

    What is there already, made by the same encoders from the same file, is kept: go on after an interruption by
    giving the same command again. `avdetect train` does this by itself.
    """
    check_installed("safetensors")
    from avdetect.errors import UsageError
    from avdetect.training import embeddings as library
    from avdetect.training.data import read_training_data
    from avdetect.training.embeddings import EmbeddingStore

    data = read_training_data(manifest)
    if data.has_features:
        raise UsageError(f"{manifest} lists features, which are embeddings already.")
    videos = [record.media for record in data.records if isinstance(record.media, Path)]
    encoders = open_encoders(bundle, device)
    with extraction_progress(enabled=not quiet) as on_done:
        result = library.extract(videos, encoders, EmbeddingStore(output), jobs=jobs, on_done=on_done)
    say(f"{output}: {result.num_extracted} videos extracted, {result.num_kept} kept as they were.", quiet=quiet)
