"""The detector of the default bundle: learns from composed scenes, with probabilities and thresholds found by places.

Its bytes depend on the processor as well, in their last bits.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from avdetect.features.encoders import EncoderSessions
from avdetect.manifest import ClassSpec, EventRule, Manifest
from avdetect.models.two_stream import TwoStreamNet, with_window
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import read_manifest
from avdetect.training.checkpoint import Checkpoint, load_checkpoint
from avdetect.training.config import parse_config
from avdetect.training.embeddings import Encoders
from avdetect.training.recipe import train
from avdetect_export.bundle_writer import ExportOptions, write_bundle
from avdetect_export.checkpoint_bundle import bundle_of
from avdetect_export.default_encoders import created_at
from avdetect_export.default_rules import FITTED, HOW
from avdetect_export.default_training import PLACES_OF_VAL

__all__ = ["NAME", "add_detector"]

NAME = "avdetect-default"
TITLES = {
    "fight": "Fight",
    "gunshot": "Gunshot",
    "explosion": "Explosion",
    "scream": "Scream",
    "glass": "Breaking glass",
    "siren": "Siren",
    "crash": "Crash",
}
"""The classes, in their order."""
LASTING = EventRule(on=0.5, off=0.35, smooth_snippets=3, min_duration_s=1.28, merge_gap_s=1.92)
BURST = EventRule(on=0.5, off=0.35, merge_gap_s=1.28)
LASTING_CLASSES = frozenset({"fight", "siren"})
"""They go on for seconds; the others are over within a snippet."""
ONLY_SEEN = ("fight",)
"""In AVBench fights have no sound of their own, and no other event is seen."""
SEED = 0
RECIPE: dict[str, Any] = {
    "epochs": 14,
    "hidden_dim": 64,
    "feed_forward_dim": 64,
    "look_at": "logits",
    "noise": 0.0,
    "audio_dropout": 0.7,
    "visual_dropout": 0.0,
    "modality_dropout": 0.1,
    "modality_weight": 0.3,
    "snippet_weight": 10.0,
    "contrast_weight": 0.1,
    "contrast_between": "events",
    "self_distillation": True,
}
"""What was chosen by places (benchmarks/places.py) of the product's recipe."""
LOOKAHEAD_SNIPPETS = 1
"""The network learns with two and runs with one, which brings every alarm 0.64 s earlier."""


def add_detector(bundle: Path, sounds: Path, clips: Path, kept: Path) -> Manifest:
    """Train a detector for the bundle at ``bundle``, and put it in place of the one that is there.

    Args:
        bundle: is written again, with its encoders as they are.
        sounds: list of labelled sounds; those of the split val are left out.
        clips: list of clips with their places; those that AVBench's val shows are left out.
        kept: where encoded scenes are kept.

    Returns:
        The new manifest.
    """
    with TemporaryDirectory(prefix="avdetect-detector-") as work:
        checkpoint = _train(bundle, sounds, clips, Path(work) / "run", kept)
        trained = load_checkpoint(checkpoint)
        assert isinstance(trained.network, TwoStreamNet)
        network = with_window(trained.network, lookahead_snippets=LOOKAHEAD_SNIPPETS)
        before = read_manifest(bundle).provenance
        running = Checkpoint(network, trained.class_names, trained.notes)
        manifest, files = bundle_of(running, checkpoint, bundle, ExportOptions(name=NAME, weights="float16"))
        manifest = manifest.model_copy(
            update={
                "created": created_at(),
                "classes": _classes(trained),
                "calibration": HOW,
                "provenance": {
                    **before,
                    "detector_parity": manifest.provenance["parity"],
                    "training": _training(trained),
                },
            }
        )
    write_bundle(bundle, manifest, files)
    return manifest


def _train(base: Path, sounds: Path, clips: Path, output: Path, kept: Path) -> Path:
    """The checkpoint of the recipe that was chosen by places; nothing is chosen here."""
    bundle = Bundle.load(base, device="cpu", all_encoders=True)
    config = parse_config(
        {
            "output": output,
            "class_names": tuple(TITLES),
            "schedule": "fixed",
            "scenes": {
                "clips": clips,
                "sounds": sounds,
                "without_places": PLACES_OF_VAL,
                "embeddings": kept / "scenes",
            },
            "recipe": {
                "name": "product",
                "only_seen": ONLY_SEEN,
                "only_heard": tuple(name for name in TITLES if name not in ONLY_SEEN),
                **RECIPE,
            },
            "run": {"seed": SEED, "accelerator": "cpu", "progress": False},
        }
    )
    sessions = EncoderSessions(bundle.visual, bundle.motion, bundle.audio)
    return train(config, encoders=Encoders(bundle.manifest, sessions))


def _training(trained: Checkpoint) -> dict[str, Any]:
    """What came of it, and no paths."""
    notes = trained.notes
    return {
        "data": "scenes composed of short clips and single sounds, without those of AVBench val",
        "recipe": notes["config"]["recipe"],
        "scenes": {name: notes["config"]["scenes"][name] for name in ("num_scenes", "bags_per_epoch", "snippets")},
        "seed": SEED,
        "epoch": notes["epoch"],
        "metrics_of_last_epoch": notes["metrics_of_last_epoch"],
    }


def _classes(trained: Checkpoint) -> tuple[ClassSpec, ...]:
    return tuple(_class(name) for name in trained.class_names)


def _class(name: str) -> ClassSpec:
    fitted, shape = FITTED[name], LASTING if name in LASTING_CLASSES else BURST
    rule = shape.model_copy(update={"on": fitted.on, "off": fitted.off})
    return ClassSpec(name=name, title=TITLES[name], rule=rule, temperature=fitted.temperature, bias=fitted.bias)
