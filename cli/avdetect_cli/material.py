"""Videos whose events are known, and their scores: what ``evaluate`` and ``calibrate`` work on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from avdetect.errors import MediaError, OutputError, UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.labels.feature_files import read_crops
from avdetect.labels.video_list import read_labelled_videos
from avdetect.labels.videos import FeatureFiles, LabelledVideo
from avdetect.manifest import Manifest
from avdetect.runtime import pipeline
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.runtime.pipeline import Progress, ScoreOptions, score_features
from avdetect.sinks.scores import read_scores
from avdetect_cli.batch import Cancelled, in_order
from avdetect_cli.finding import Finding
from avdetect_cli.progress import ProgressDisplay
from avdetect_cli.training import check_installed, say

__all__ = ["as_bundle", "check_targets", "is_scores_file", "load_scores", "read_videos", "score_videos"]

_SCORES_SUFFIXES = (".csv", ".npz", ".parquet")
_MAX_NAMED = 3


def is_scores_file(path: Path) -> bool:
    """Whether ``path`` is called as saved scores are."""
    return path.suffix.lower() in _SCORES_SUFFIXES


def check_targets(targets: Mapping[str, Path | None], *, read: Sequence[Path]) -> None:
    """Notice before an hour of scoring that a result could not be written.

    Args:
        targets: option -> the file it names.
        read: what must not be overwritten.

    Raises:
        UsageError: a target is an input.
        OutputError: a target is a folder, or its folder is missing.
    """
    inputs = {path.resolve() for path in read}
    for option, path in targets.items():
        if path is None:
            continue
        if path.resolve() in inputs:
            raise UsageError(f"{option} {path} is an input and would be overwritten: name another file.")
        if path.is_dir():
            raise OutputError(f"{option} {path} is a folder: name a file.")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"{option} {path}: there is no folder {path.parent}.")


def read_videos(manifest: Path, *, split: str | None, files_must_exist: bool, quiet: bool) -> list[LabelledVideo]:
    """The videos of ``manifest``, or those of one split of it.

    Raises:
        DataError: all that is wrong with it.
        UsageError: no video is of the split.
    """
    videos = read_labelled_videos(manifest, files_must_exist=files_must_exist)
    chosen = [video for video in videos if split is None or video.split == split]
    if not chosen:
        raise UsageError(f"{manifest} has no video of the split {split}.")
    if len({video.split for video in chosen}) > 1:
        num_train = sum(video.split != "val" for video in chosen)
        say(f"Note: {num_train} of {len(chosen)} videos are to train on; --split val leaves them out.", quiet=quiet)
    return chosen


def load_scores(
    model: Path,
    videos: Sequence[LabelledVideo],
    *,
    bundle: Path | None,
    device: str,
    jobs: int,
    quiet: bool,
) -> tuple[Manifest, list[ScoreCurve]]:
    """The scores of ``videos``, made by ``model`` or saved in it, and the manifest of the bundle whose rules apply.

    Args:
        model: a bundle, a checkpoint or a file of saved scores.
        videos: what is scored; saved scores may hold more.
        bundle: with saved scores, whose rules to use; with a checkpoint, whose encoders made its embeddings; ``None``
            for the embedded one.
        device: where to score.
        jobs: how many videos at once.
        quiet: whether to show no progress.

    Raises:
        AvdetectError: a bundle, a video or a file of scores cannot be read.
    """
    if is_scores_file(model):
        return read_manifest(default_bundle_path() if bundle is None else bundle), read_scores(model)
    with as_bundle(model, base=bundle) as location:
        return read_manifest(location), score_videos(videos, location, device=device, jobs=jobs, quiet=quiet)


@contextmanager
def as_bundle(model: Path, *, base: Path | None) -> Iterator[Path]:
    """The bundle that ``model`` is, or one made of the checkpoint that it is, which goes away afterwards.

    Args:
        model: a bundle or a checkpoint.
        base: the bundle whose encoders made the embeddings a checkpoint was trained on; ``None`` for the embedded one.

    Raises:
        UsageError: a base is given for a bundle, or a package is missing that a checkpoint needs.
        CheckpointError: it is a file, but neither a bundle nor a checkpoint.
    """
    if not model.is_file() or model.suffix.lower() == ".zip":
        if base is not None:
            raise UsageError(f"--bundle is for saved scores and checkpoints; {model} brings its own thresholds.")
        yield model
        return
    check_installed("torch", "onnx", "safetensors")
    from avdetect_export import ExportOptions, export_bundle

    with TemporaryDirectory(prefix="avdetect-") as folder:
        bundle = Path(folder) / "bundle"
        export_bundle(model, bundle, base=base, options=ExportOptions(name=model.stem))
        yield bundle


def score_videos(
    videos: Sequence[LabelledVideo], bundle: Path, *, device: str, jobs: int, quiet: bool
) -> list[ScoreCurve]:
    """Score ``videos``, or their features, with ``bundle``, ``jobs`` of them at once, with progress on a terminal.

    Raises:
        MediaError: some video could not be scored; figures without it would mislead.
    """
    loaded = Bundle.load(bundle, device=device)
    options = ScoreOptions(decoder_threads=max((os.cpu_count() or 1) // jobs, 1))
    by_source = {str(video.path): video for video in videos}
    display = ProgressDisplay(len(by_source), enabled=sys.stderr.isatty() and not quiet)
    cancel = threading.Event()

    def work(source: str) -> Finding:
        def show(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            display.update(source, progress)

        media = by_source[source].media
        try:
            if isinstance(media, FeatureFiles):
                audio, visual = read_crops(media)
                return Finding(source, score_features(audio, visual, bundle=loaded, source=source))
            return Finding.of(pipeline.score(source, bundle=loaded, options=options, on_progress=show))
        finally:
            display.finish(source)

    try:
        findings = list(in_order(list(by_source), work, Finding.failed, jobs=jobs, cancel=cancel))
    finally:
        display.close()
    errors = [finding.error for finding in findings if finding.error is not None]
    if errors:
        more = f" (and {len(errors) - _MAX_NAMED} more)" if len(errors) > _MAX_NAMED else ""
        raise MediaError(
            f"{len(errors)} of {len(videos)} videos could not be scored: {' '.join(errors[:_MAX_NAMED])}{more}"
        )
    return [finding.curve for finding in findings if finding.curve is not None]
