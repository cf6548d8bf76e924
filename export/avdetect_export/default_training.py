"""The encoders of the default bundle, trained on: sound on mixtures of labelled sounds, motion on short clips.

Neither meets the split ``val`` of the sounds, nor the places that AVBench's ``val`` shows, so that its figures say
something. What is trained is kept, and taken as it is the next time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from avdetect.files import replacing
from avdetect.manifest import Manifest
from avdetect.runtime.bundle_files import read_manifest
from avdetect.training.config import RunOptions
from avdetect.training.motion.config import MotionTrainConfig, states_folder
from avdetect.training.motion.train_motion import MOTION_CHECKPOINT_NAME, train_motion
from avdetect.training.sound.config import SoundRecipe, SoundTrainConfig
from avdetect.training.sound.train_sound import train_sound
from avdetect_export.bundle_writer import read_bundle
from avdetect_export.encoder_bundle import export_encoders
from avdetect_export.motion_encoder import appearance_graph, motion_encoder

__all__ = ["PLACES_OF_VAL", "add_trained_encoders"]

PLACES_OF_VAL = (
    "intel:intel_bottle-detection.mp4",
    "yt:FZDDNtcaBcw",
    "yt:FbnMdS3FAVI",
    "yt:L-xyzcwCDCA",
    "yt:Wwu20e9pfxg",
    "yt:lmfaDmCCRoY",
)
"""What the pictures of AVBench's val were cut from: found by comparing pictures, checked by eye."""
SOUND_STEPS = 4000
SEED = 0


def add_trained_encoders(bundle: Path, output: Path, sounds: Path, clips: Path, kept: Path) -> Manifest:
    """Train the encoders of a bundle on, and write them as another one, which has no detector.

    Args:
        bundle: the default's encoders, from published weights.
        output: the new bundle's folder.
        sounds: list of labelled sounds.
        clips: list of clips with their places.
        kept: folder of what was trained before, and of what is needed to resume.

    Returns:
        The new manifest.
    """
    run = RunOptions(seed=SEED, accelerator="cpu", progress=False)
    appearance = appearance_graph(bundle)
    checkpoint = states_folder(kept / "motion") / MOTION_CHECKPOINT_NAME
    if not checkpoint.is_file():
        config = MotionTrainConfig(clips=clips, output=kept / "motion", hold_out_places=PLACES_OF_VAL, run=run)
        train_motion(config, appearance)
    seen, seen_notes = motion_encoder(checkpoint, appearance)
    before = read_manifest(bundle)
    assert before.audio is not None
    graph, heard_notes = _sound(bundle, sounds, kept, run)
    return export_encoders(
        bundle,
        output,
        {"motion": seen, "audio": (before.audio, graph)},
        name="avdetect-encoders",
        notes={**before.provenance, "motion": seen_notes, "audio": heard_notes},
    )


def _sound(bundle: Path, sounds: Path, kept: Path, run: RunOptions) -> tuple[bytes, Mapping[str, Any]]:
    """The graph of the audio encoder, trained on, and how it came about."""
    path, notes_path = kept / "sound.onnx", kept / "sound.json"
    if not path.is_file():
        manifest, files = read_bundle(bundle)
        assert manifest.audio is not None
        trained = train_sound(
            SoundTrainConfig(
                manifest=sounds,
                output=kept / "sound",
                measured_scenes=50,
                recipe=SoundRecipe(steps=SOUND_STEPS),
                run=run,
            ),
            onnx.load_from_string(files[manifest.audio.graph]),
            manifest,
        )
        with replacing(notes_path) as temporary:
            temporary.write_text(json.dumps(dict(trained.notes), indent=1) + "\n", "utf-8")
        with replacing(path) as temporary:
            temporary.write_bytes(trained.graph.SerializeToString(deterministic=True))
    return path.read_bytes(), json.loads(notes_path.read_text("utf-8"))
