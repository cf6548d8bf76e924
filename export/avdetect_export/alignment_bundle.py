"""A trained alignment and the text encoder that it was trained with -> into a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avdetect.errors import CheckpointError
from avdetect.manifest import Manifest
from avdetect.runtime.bundle_files import BundleFiles
from avdetect.runtime.prompts import Prompt, with_prompts
from avdetect.training.extract import fingerprint
from avdetect.training.text.checkpoint import load_alignment
from avdetect_export.words import with_words, words_of

__all__ = ["with_alignment"]


def with_alignment(
    manifest: Manifest, files: Mapping[str, bytes], checkpoint: Path, *, where: Path
) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle's manifest and files, with another alignment in place of the one that it may have.

    Its prompts are placed anew; what was fitted to their scores goes, since those are others now. The rule of prompts
    stays, for want of a better one.

    Args:
        manifest: of the bundle.
        files: its other files, by path.
        checkpoint: what ``avdetect train-text`` wrote.
        where: the bundle, for messages.

    Raises:
        CheckpointError: the checkpoint cannot be read, was trained with other encoders, or a graph does not compute
            what the network does.
    """
    trained = load_alignment(checkpoint)
    if trained.notes["encoders"] != fingerprint(manifest):
        raise CheckpointError(
            f"{checkpoint} was trained with other encoders than those of {where}; give the bundle that it was trained "
            "with as the base, or train again."
        )
    prompted = manifest.prompted_classes
    bare = manifest.model_copy(update={"classes": manifest.detected_classes})
    worded, contents = with_words(bare, files, words_of(trained))
    if manifest.alignment is not None and worded.alignment is not None:
        spec = worded.alignment.model_copy(update={"prompt_rule": manifest.alignment.prompt_rule})
        worded = worded.model_copy(update={"alignment": spec})
    prompts = [Prompt(spec.name, spec.prompt.phrases) for spec in prompted if spec.prompt is not None]
    if prompts:
        worded = with_prompts(BundleFiles.in_memory(where, worded, contents), prompts)
    return worded, contents
