"""Training, and what it wrote; importing this imports torch."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from avdetect.errors import CheckpointError
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.session import open_session
from avdetect.runtime.sound_text import AlignmentModel
from avdetect.text.phrase_encoder import TextEncoder
from avdetect.training.alignment.train_text import train_text as run_text_training
from avdetect.training.checkpoint import load_alignment
from avdetect.training.config import parse_config, parse_text_config
from avdetect.training.embeddings import fingerprint
from avdetect.training.recipe import read_data
from avdetect.training.recipe import train as run_training
from avdetect_cli.tasks.preparing import open_encoders
from avdetect_cli.terminal.bars import TrainingDisplay, extraction_progress
from avdetect_cli.terminal.text import say
from avdetect_export.text_graph import load_sentence_transformer
from avdetect_export.words import words_of

__all__ = ["alignment_of_checkpoint", "train", "train_text"]


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
    say(f"{checkpoint}: trained; `avdetect evaluate-text {checkpoint} MANIFEST` says how good it is.", quiet=quiet)


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
