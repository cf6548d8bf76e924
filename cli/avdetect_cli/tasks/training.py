"""Training, and what it wrote; importing this imports torch."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from avdetect.errors import CheckpointError
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.runtime.session import open_session
from avdetect.runtime.sound_text import AlignmentModel
from avdetect.text.phrase_encoder import TextEncoder
from avdetect.training.alignment.train_text import train_text as run_text_training
from avdetect.training.checkpoint import load_alignment
from avdetect.training.config import parse_config, parse_text_config
from avdetect.training.embeddings import fingerprint
from avdetect.training.motion.config import parse_motion_config
from avdetect.training.motion.train_motion import train_motion as run_motion_training
from avdetect.training.recipe import read_data
from avdetect.training.recipe import train as run_training
from avdetect_cli.tasks.preparing import open_encoders
from avdetect_cli.terminal.bars import TrainingDisplay, extraction_progress
from avdetect_cli.terminal.text import say
from avdetect_export.bundle_writer import check_bundle_target
from avdetect_export.motion_encoder import appearance_graph, motion_bundle
from avdetect_export.text_graph import load_sentence_transformer
from avdetect_export.words import words_of

__all__ = ["alignment_of_checkpoint", "train", "train_motion", "train_text"]


def train(values: dict[str, Any], *, bundle: Path | None, device: str, quiet: bool) -> None:
    """Train a detector.

    Args:
        values: the settings, as ``docs/training.md`` lists them.
        bundle: whose encoders make embeddings; ``None`` for the embedded one.
        device: where these run.
        quiet: show no progress.

    Raises:
        AvdetectError: a setting, the manifest or a video is not as it should be.
    """
    chosen = parse_config(values)
    # Features need no encoders; a mistake in the manifest is found before a bundle is loaded.
    data = read_data(chosen)
    encoders = None if data.has_features else open_encoders(bundle, device)
    display = None if quiet else TrainingDisplay(bar=chosen.run.progress)
    with extraction_progress(enabled=not quiet) as on_extracted, display or nullcontext():
        run_training(chosen, encoders=encoders, on_extracted=on_extracted, on_composed=on_extracted, observer=display)
        if display is not None:
            display.show_outcome(features=data.has_features)


def train_motion(values: dict[str, Any], *, base: Path | None, quiet: bool) -> None:
    """Train a motion encoder, and write a bundle with it.

    Args:
        values: the settings, as ``docs/training.md`` lists them.
        base: the bundle whose appearance encoder is trained on; ``None`` for the embedded one.
        quiet: show no progress.

    Raises:
        AvdetectError: a setting, the list of clips, a clip or the base is not as it should be.
    """
    config = parse_motion_config(values)
    base = base or default_bundle_path()
    check_bundle_target(config.output)
    appearance = appearance_graph(base)
    display = None if quiet else TrainingDisplay(bar=config.run.progress)
    with extraction_progress(enabled=not quiet, what="decoding") as on_decoded, display or nullcontext():
        checkpoint = run_motion_training(config, appearance, on_decoded=on_decoded, observer=display)
    manifest = motion_bundle(base, checkpoint, config.output)
    say(_motion_outcome(manifest.provenance["encoders"]["motion"], config.output), quiet=quiet)


def _motion_outcome(notes: dict[str, Any], bundle: Path) -> str:
    """What was written, and what is known of it."""
    lines = []
    held_out = notes.get("held_out") or {}
    if held_out.get("auc") is not None:
        lively = held_out["false_positive_share_disturbed"]["all"]
        lines.append(
            f"Places held out: AUC {held_out['auc']:.2f}; where 60 % of the events are found, "
            f"{held_out['false_positive_share']:.0%} of the normal clips are taken for events, "
            f"{lively:.0%} of the disturbed ones."
        )
    lines.append(f"{bundle}: encoders; `avdetect train --bundle {bundle} ...` trains a detector that reads them.")
    return "\n".join(lines)


def train_text(values: dict[str, Any], *, bundle: Path | None, device: str, quiet: bool) -> None:
    """Train an alignment of sound and text; the arguments are those of ``train``.

    Raises:
        AvdetectError: a setting, the manifest or a recording is not as it should be.
    """
    config = parse_text_config(values)
    encoders = open_encoders(bundle, device)
    model = load_sentence_transformer(config.text_encoder)
    with extraction_progress(enabled=not quiet) as on_encoded:
        checkpoint = run_text_training(config, encoders=encoders, text_model=model, on_encoded=on_encoded)
    say(f"{checkpoint}: trained; `avdetect evaluate-text {checkpoint} LIST` says how good it is.", quiet=quiet)


def alignment_of_checkpoint(checkpoint: Path, bundle: Bundle) -> AlignmentModel:
    """Open the graphs that a bundle would hold of what ``train-text`` wrote.

    Raises:
        CheckpointError: it cannot be read, or was trained with other encoders than those of ``bundle``.
    """
    trained = load_alignment(checkpoint)
    if trained.notes["encoders"] != fingerprint(bundle.manifest):
        raise CheckpointError(f"{checkpoint} was trained with other encoders than those of {bundle.path}.")
    words = words_of(trained)
    text, parts = words.text, words.alignment
    session = open_session(text.graph, name=text.spec.graph, provider=bundle.provider, num_threads=1)
    return AlignmentModel.open(
        parts.spec,
        parts.audio_graph,
        parts.text_graph,
        TextEncoder(session, text.tokenizer, text.spec),
        provider=bundle.provider,
        num_threads=1,
    )
