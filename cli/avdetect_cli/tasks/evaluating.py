"""How good a detector is, and thresholds that fit, from videos whose events are known and their scores."""

from __future__ import annotations

import json as json_text
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from avdetect.errors import MediaError, UsageError
from avdetect.evaluation.calibration import Calibration
from avdetect.evaluation.calibration import calibrate as fit
from avdetect.evaluation.evaluate import evaluate as measure
from avdetect.evaluation.evaluate import pair_with_curves
from avdetect.evaluation.frame_metrics import require_sed_scores_eval
from avdetect.evaluation.page import write_page
from avdetect.evaluation.result import evaluation_document
from avdetect.events.curve import ScoreCurve
from avdetect.features.encoding import Progress
from avdetect.files import kind_of, real_path, replacing
from avdetect.labels.feature_files import read_crops
from avdetect.labels.quiet_videos import quiet_videos
from avdetect.labels.video_list import read_labelled_videos
from avdetect.labels.videos import FeatureFiles, LabelledVideo
from avdetect.manifest import Manifest
from avdetect.media.find_sources import find_sources
from avdetect.runtime import pipeline
from avdetect.runtime.batch import in_order, watched
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files, read_manifest
from avdetect.runtime.pipeline import ScoreOptions
from avdetect.runtime.scorer import score_features
from avdetect.serve.store.material import kept_material
from avdetect.sinks.scores import check_scores_path, read_scores, write_scores
from avdetect_cli.output.plan import Finding
from avdetect_cli.output.targets import JSON_SUFFIXES, PAGE_SUFFIXES, check_outputs
from avdetect_cli.terminal.figures import show_evaluation
from avdetect_cli.terminal.progress import ProgressDisplay
from avdetect_cli.terminal.text import out, say
from avdetect_cli.values import check_installed
from avdetect_export import ExportOptions, export_bundle
from avdetect_export.bundle_writer import check_bundle_target, file_entries, write_bundle

__all__ = ["calibrate", "evaluate"]

_SCORES_SUFFIXES = (".csv", ".npz", ".parquet")
_MAX_NAMED = 3


def evaluate(
    model: Path,
    manifest: Path,
    *,
    json: bool,
    output: Path | None,
    page: Path | None,
    scores: Path | None,
    worst: int,
    psds: bool,
    bundle: Path | None,
    split: str | None,
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Measure a model on the videos of a manifest, and show, write or save what is found.

    Raises:
        AvdetectError: a model, a manifest or a video cannot be read, or a result cannot be written.
    """
    check_outputs(
        {"-o": output, "--page": page, "--scores": scores},
        read=[model, manifest],
        suffixes={"-o": JSON_SUFFIXES, "--page": PAGE_SUFFIXES},
    )
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
        list_path=str(manifest),
        bundle=None if is_scores_file(model) else spec,
        avdetect_version=version("avdetect"),
        num_worst=worst,
    )
    if output is not None:
        _write_json(output, document)
    if page is not None:
        write_page(page, result, subject=f"{model.name} on {manifest.name}", num_worst=worst)
    if json:
        out(*_as_text(document).split("\n"))
    elif not quiet:
        show_evaluation(Console(), result)


def calibrate(
    bundle: Path,
    manifest: Path | None,
    *,
    nothing_happens: Sequence[str],
    kept: Path | None,
    false_alarms_per_hour: float,
    output: Path,
    from_scores: Path | None,
    split: str | None,
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Fit the thresholds of a bundle to an allowance of false alarms, and write the bundle that has them.

    Args:
        bundle: whose thresholds to fit.
        manifest: labelled videos, or ``None``.
        nothing_happens: files, folders and patterns of footage in which nothing happened.
        kept: the store of a service, for the scores and answers in it, or ``None``.
        false_alarms_per_hour: how many are allowed where nothing happens.
        output: the new bundle.
        from_scores: saved scores of the videos, or ``None`` to score them.
        split: of the manifest, or ``None`` for all of it.
        device: where to score.
        jobs: how many videos at once.
        quiet: show no progress.

    Raises:
        AvdetectError: a bundle, a manifest or a video cannot be read, or the new bundle cannot be written.
    """
    if real_path(output) == real_path(bundle):
        raise UsageError(f"-o {output} is the bundle itself: name another folder for the calibrated one.")
    if from_scores is not None and not is_scores_file(from_scores):
        raise UsageError(f"--from-scores {from_scores}: saved scores end in .npz, .csv or .parquet.")
    check_outputs({}, folders={"-o": output})
    check_bundle_target(output)
    videos = (
        []
        if manifest is None
        else read_videos(manifest, split=split, files_must_exist=from_scores is None, quiet=quiet)
    )
    if nothing_happens:
        sources, problems = find_sources(nothing_happens)
        if problems:
            raise problems[0][1]
        videos += quiet_videos(sources)
    with open_bundle_files(bundle) as files:
        spec, contents = files.manifest, {entry.path: files.read(entry) for entry in files.manifest.files}
    pairs = [] if kept is None else kept_material(kept, spec)
    if videos:
        _, curves = load_scores(
            bundle if from_scores is None else from_scores,
            videos,
            bundle=None if from_scores is None else bundle,
            device=device,
            jobs=jobs,
            quiet=quiet,
        )
        pairs += pair_with_curves(videos, curves)
    named = (None if manifest is None else manifest.name, *nothing_happens, None if kept is None else kept.name)
    material = ", ".join(name for name in named if name is not None)
    result = fit(pairs, spec, false_per_hour=false_alarms_per_hour, material=material)
    write_bundle(output, result.manifest.model_copy(update={"files": file_entries(contents)}), contents)
    if not quiet:
        out(*_describe_calibration(spec, result, false_alarms_per_hour))
        out("", f"Written to {output}.")


def _describe_calibration(before: Manifest, result: Calibration, asked: float) -> Iterator[str]:
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


def _as_text(document: Mapping[str, object]) -> str:
    return json_text.dumps(document, indent=2, allow_nan=False)


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(_as_text(document) + "\n", "utf-8", newline="\n")


def is_scores_file(path: Path) -> bool:
    """Whether ``path`` is called as saved scores are."""
    return path.suffix.lower() in _SCORES_SUFFIXES


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
    if kind_of(model) != "file" or model.suffix.lower() == ".zip":
        if base is not None:
            raise UsageError(f"--bundle is for saved scores and checkpoints; {model} brings its own thresholds.")
        yield model
        return
    check_installed("torch", "onnx", "safetensors")
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
    display = ProgressDisplay(enabled=sys.stderr.isatty() and not quiet, quiet=quiet)
    display.begin(list(by_source))
    cancel = threading.Event()

    def work(source: str, tell: Callable[[Progress], None]) -> Finding:
        media = by_source[source].media
        if isinstance(media, FeatureFiles):
            audio, visual = read_crops(media)
            return Finding(source, score_features(audio, visual, bundle=loaded, source=source))
        return Finding.of(pipeline.score(source, bundle=loaded, options=options, on_progress=tell))

    with closing(display):
        working = watched(work, display, cancel)
        findings = list(in_order(list(by_source), working, Finding.failed, jobs=jobs, cancel=cancel))
    errors = [finding.error for finding in findings if finding.error is not None]
    if errors:
        more = f" (and {len(errors) - _MAX_NAMED} more)" if len(errors) > _MAX_NAMED else ""
        raise MediaError(
            f"{len(errors)} of {len(videos)} videos could not be scored: {' '.join(errors[:_MAX_NAMED])}{more}"
        )
    return [finding.curve for finding in findings if finding.curve is not None]
