"""A trained alignment -> what a bundle needs to understand words: its graphs, and those of its text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avdetect.errors import CheckpointError
from avdetect.manifest import SCHEMA_VERSION, Manifest
from avdetect.runtime.bundle_files import BundleFiles
from avdetect.runtime.prompts import Prompt, with_prompts
from avdetect.runtime.session import choose_provider, open_session
from avdetect.text.phrase_encoder import TextEncoder
from avdetect.training.checkpoint import AlignmentCheckpoint, load_alignment
from avdetect.training.embeddings import fingerprint
from avdetect_export.alignment_graph import AlignmentParts, alignment_parity, export_alignment
from avdetect_export.bundle_writer import file_entries
from avdetect_export.text_graph import (
    DEFAULT_MODEL,
    TextEncoderParts,
    export_text_encoder,
    load_sentence_transformer,
    text_parity,
)

__all__ = ["Words", "with_alignment", "with_words", "words_of"]

MAX_DIFFERENCE = 5e-3
"""The largest difference allowed between a graph with float16 weights and the network; vectors have unit length."""
_PARITY_PHRASES = ("a gunshot", "glass shatters in the distance", "somebody screams, recorded up close", "an alarm")


@dataclass(frozen=True, slots=True)
class Words:
    """The parts that make a bundle understand words."""

    text: TextEncoderParts
    alignment: AlignmentParts
    provenance: Mapping[str, Any]
    """The training of the alignment, and how far the graphs are from the networks."""


def words_of(trained: AlignmentCheckpoint) -> Words:
    """The graphs of a trained alignment and of the text encoder that it was trained with.

    Raises:
        CheckpointError: they do not compute what the networks do.
    """
    model = load_sentence_transformer(trained.text_encoder)
    text = export_text_encoder(model, name=Path(trained.text_encoder or DEFAULT_MODEL).name)
    alignment = export_alignment(trained.network, weights="float16")
    session = open_session(text.graph, name=text.spec.graph, provider=choose_provider("cpu"), num_threads=1)
    encoder = TextEncoder(session, text.tokenizer, text.spec)
    parity = alignment_parity(alignment, trained.network, encoder)
    worst = max(parity[name] for name in ("vectors", "phrase_vectors", "text_vector"))
    if not worst <= MAX_DIFFERENCE:
        raise CheckpointError(f"the exported alignment differs by up to {worst:.2g} from the network's vectors.")
    notes = trained.notes
    provenance = {
        "training": {
            "recipe": notes["config"]["recipe"],
            "seed": notes["config"]["run"]["seed"],
            "num_scenes": notes["num_scenes"],
            "num_pairs": notes["num_pairs"],
        },
        "parity": {
            **{name: round(value, 4) for name, value in parity.items()},
            "text_cosine": round(text_parity(model, encoder(_PARITY_PHRASES), _PARITY_PHRASES), 4),
        },
    }
    return Words(text, alignment, provenance)


def with_words(manifest: Manifest, files: Mapping[str, bytes], words: Words) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle's manifest and files, with ``words`` in place of those that it may have."""
    replaced = {
        *(() if manifest.text is None else (manifest.text.graph, manifest.text.tokenizer)),
        *(() if manifest.alignment is None else (manifest.alignment.audio_graph, manifest.alignment.text_graph)),
    }
    kept = {path: content for path, content in files.items() if path not in replaced}
    contents = {**kept, **words.text.files(), **words.alignment.files()}
    changes = {
        "schema_version": SCHEMA_VERSION,
        "text": words.text.spec,
        "alignment": words.alignment.spec,
        "provenance": {**manifest.provenance, "words": dict(words.provenance)},
        "files": file_entries(contents),
    }
    return manifest.model_copy(update=changes), contents


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
