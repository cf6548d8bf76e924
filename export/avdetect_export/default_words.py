"""The words of the default bundle: its text encoder and its alignment of sound and text.

    python -m avdetect_export.default_words SOUNDS

trains the alignment on the split train of SOUNDS, fits the rule of prompts to the split val, and puts it all into the
bundle that ships with the package. Its other files stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from avdetect.errors import CheckpointError
from avdetect.evaluation.asking import AskedTrack, answers, quiet_rule
from avdetect.features.encoders import EncoderSessions
from avdetect.manifest import Manifest
from avdetect.runtime.alignment import open_alignment
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.runtime.session import choose_provider, open_session
from avdetect.runtime.text_evaluation import ask, class_names_of, descriptions_of, listen_to_all
from avdetect.text.composer import MixOptions
from avdetect.text.encoder import TextEncoder
from avdetect.text.records import read_text_records
from avdetect.text.sounds import LabelledSound, read_waveform
from avdetect.text.track_files import TrackOptions, write_tracks
from avdetect.training.extract import Encoders, fingerprint
from avdetect.training.text.checkpoint import AlignmentCheckpoint, load_alignment
from avdetect.training.text.config import parse_text_config
from avdetect.training.text.recipe import train_text
from avdetect_export.alignment_graph import AlignmentParts, alignment_parity, export_alignment
from avdetect_export.bundle_writer import file_entries, read_bundle, write_bundle
from avdetect_export.default_notice import LICENCES, NOTICE
from avdetect_export.text_graph import (
    OFFLINE_PACKAGE,
    TextEncoderParts,
    export_text_encoder,
    load_sentence_transformer,
    text_parity,
)

__all__ = ["Words", "add_words", "train_words", "with_words", "words_of"]

SEED = 0
MAX_DIFFERENCE = 5e-3
"""How far a number of a graph, whose weights are float16, may be from the network's; vectors are of unit length."""
QUIET_SHARE = 0.95
"""Of the pairs of a phrase and a track in which it is not heard, how many the rule of prompts gives no result for."""
QUIET_TRACKS = TrackOptions(num_tracks=100, duration_s=(60.0, 60.0), num_sounds=(3, 3), seed=SEED)
_PARITY_PHRASES = ("a gunshot", "glass shatters in the distance", "somebody screams, recorded up close", "an alarm")


@dataclass(frozen=True, slots=True)
class Words:
    """What makes a bundle understand words."""

    text: TextEncoderParts
    alignment: AlignmentParts
    provenance: Mapping[str, Any]
    """Weights, training data and recipe, parity."""


def add_words(bundle: Path, sounds: Path, *, alignment: Path | None = None, embeddings: Path | None = None) -> Manifest:
    """Give the bundle at ``bundle`` words, in place of those that it may have; its other files stay as they are.

    Args:
        bundle: is written again.
        sounds: manifest of labelled sounds with captions, of the splits train and val.
        alignment: a checkpoint of ``avdetect train-text``; None to train one.
        embeddings: where encoded sounds are kept; None to throw them away.

    Returns:
        The new manifest.

    Raises:
        CheckpointError: the alignment was trained with another audio encoder.
    """
    with TemporaryDirectory(prefix="avdetect-words-") as work:
        folder = Path(work)
        checkpoint = alignment or train_words(bundle, sounds, folder / "run", embeddings or folder / "embeddings")
        trained = load_alignment(checkpoint)
        manifest, files = read_bundle(bundle)
        if trained.notes["encoders"] != fingerprint(manifest):
            raise CheckpointError(f"{checkpoint} was trained with other encoders than those of {bundle}.")
        manifest, files = with_words(manifest, files, words_of(trained))
        untuned = folder / "bundle"
        write_bundle(untuned, manifest, files)
        manifest = _calibrated(untuned, manifest, sounds, folder)
    write_bundle(bundle, manifest, files)
    return manifest


def train_words(bundle: Path, sounds: Path, output: Path, embeddings: Path) -> Path:
    """Train the alignment with the default recipe.

    Args:
        bundle: whose audio encoder it is for.
        sounds: manifest of labelled sounds with splits.
        output: folder of the checkpoint.
        embeddings: where encoded sounds are kept.

    Returns:
        The checkpoint.
    """
    loaded = Bundle.load(bundle, device="cpu", all_encoders=True)
    config = parse_text_config(
        {
            "manifest": sounds,
            "output": output,
            "embeddings": embeddings,
            "run": {"seed": SEED, "accelerator": "cpu", "progress": False},
        }
    )
    encoders = Encoders(loaded.manifest, EncoderSessions(loaded.visual, loaded.motion, loaded.audio))
    return train_text(config, encoders=encoders, text_model=load_sentence_transformer())


def words_of(trained: AlignmentCheckpoint) -> Words:
    """The graphs of a trained alignment and of the text encoder that it was trained with.

    Raises:
        CheckpointError: they do not compute what the networks do.
    """
    model = load_sentence_transformer(trained.text_encoder)
    text = export_text_encoder(model)
    alignment = export_alignment(trained.network, weights="float16")
    session = open_session(text.graph, name=text.spec.graph, provider=choose_provider("cpu"), num_threads=1)
    encoder = TextEncoder(session, text.tokenizer, text.spec)
    parity = alignment_parity(alignment, trained.network, encoder)
    worst = max(parity[name] for name in ("vectors", "phrase_vectors", "text_vector"))
    if not worst <= MAX_DIFFERENCE:
        raise CheckpointError(f"the exported alignment differs by up to {worst:.2g} from the network's vectors.")
    notes = trained.notes
    provenance = {
        "weights": {OFFLINE_PACKAGE.replace("_", "-"): metadata.version(OFFLINE_PACKAGE)},
        "training": {
            "data": "labelled sounds with captions, split train",
            "recipe": notes["config"]["recipe"],
            "seed": notes["config"]["run"]["seed"],
            "num_scenes": notes["num_scenes"],
        },
        "parity": {
            **{name: round(value, 4) for name, value in parity.items()},
            "text_cosine": round(text_parity(model, encoder(_PARITY_PHRASES), _PARITY_PHRASES), 4),
        },
    }
    return Words(text, alignment, provenance)


def with_words(manifest: Manifest, files: Mapping[str, bytes], words: Words) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle's manifest and files, with ``words`` in place of those that it may have."""
    old = [
        *([] if manifest.text is None else [manifest.text.graph, manifest.text.tokenizer]),
        *([] if manifest.alignment is None else [manifest.alignment.audio_graph, manifest.alignment.text_graph]),
    ]
    kept = {path: content for path, content in files.items() if path not in old}
    everything = {**kept, **words.text.files(), **words.alignment.files(), "NOTICE": NOTICE.encode()}
    changed = manifest.model_copy(
        update={
            "licences": LICENCES,
            "text": words.text.spec,
            "alignment": words.alignment.spec,
            "provenance": {**manifest.provenance, "words": dict(words.provenance)},
            "files": file_entries(everything),
        }
    )
    return changed, everything


def _calibrated(bundle: Path, manifest: Manifest, sounds: Path, work: Path) -> Manifest:
    """The manifest with a rule for prompts, fitted to tracks composed of the split val of ``sounds``."""
    mix = MixOptions()
    records = [one for one in read_text_records(sounds) if one.split == "val"]
    known = [LabelledSound(read_waveform(one.media, mix.rate_hz), one.text, one.label) for one in records]
    tracks = read_text_records(write_tracks(known, work, QUIET_TRACKS, mix))
    model = open_alignment(bundle, device="cpu")
    heard = listen_to_all(tracks, model, Bundle.load(bundle, device="cpu"))
    asked: list[AskedTrack] = [
        track for questions in (descriptions_of(heard), class_names_of(heard)) for track in ask(heard, questions, model)
    ]
    rule = quiet_rule(asked, QUIET_SHARE)
    record = {
        "material": f"{len(tracks)} tracks of {QUIET_TRACKS.duration_s[0]:g} s composed of the split val",
        "asked_quiet_share": QUIET_SHARE,
        **{name: round(value, 4) for name, value in asdict(answers(asked, rule)).items()},
    }
    assert manifest.alignment is not None
    words = {**manifest.provenance["words"], "calibration": record}
    return manifest.model_copy(
        update={
            "alignment": manifest.alignment.model_copy(update={"prompt_rule": rule}),
            "provenance": {**manifest.provenance, "words": words},
        }
    )


def main() -> None:
    """Rebuild the words, and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sounds", type=Path, metavar="SOUNDS", help="manifest of labelled sounds with splits")
    parser.add_argument("-o", "--output", type=Path, default=default_bundle_path(), metavar="DIR", help="the bundle")
    parser.add_argument("--alignment", type=Path, metavar="FILE", help="a checkpoint, in place of training one")
    parser.add_argument("--embeddings", type=Path, metavar="DIR", help="where to keep those of the sounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # Sums are added up in the same order however many processors there are.
    manifest = add_words(
        arguments.output, arguments.sounds, alignment=arguments.alignment, embeddings=arguments.embeddings
    )
    for entry in manifest.files:
        print(f"{entry.size:10,d}  {entry.sha256[:12]}  {entry.path}")


if __name__ == "__main__":
    main()
