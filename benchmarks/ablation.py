"""What each part of the product's recipe is worth: frame AP where events are known, fixed schedule, mean over seeds.

    python benchmarks/ablation.py TRAIN VAL EMBEDDINGS

``EMBEDDINGS`` is what ``avdetect extract`` made of both manifests with the embedded bundle; what is missing is added.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

from avdetect.features.encoders import EncoderSessions
from avdetect.runtime.bundle import Bundle
from avdetect.training.checkpoint import load_checkpoint
from avdetect.training.config import parse_config
from avdetect.training.extract import Encoders
from avdetect.training.recipe import train

UNBOUNDED = {"left_context_snippets": None, "lookahead_snippets": None}
VARIANTS: dict[str, dict[str, Any]] = {
    "product": {},
    "knowing what is seen and what is heard": {
        "only_seen": ["fight"],
        "only_heard": ["gunshot", "explosion", "scream", "glass", "siren", "crash"],
    },
    "whole video in both directions": UNBOUNDED,
    "no lookahead": {"lookahead_snippets": 0},
    "no smoothing": {"smoothing_range_snippets": 0},
    "evidence adds up": {"fusion": "sum"},
    "with appearance": {"use_appearance": True},
    "less noise and dropout": {"noise": 0.1, "audio_dropout": 0.5},
    "loss on the fused score as well": {"fused_weight": 1.0},
    "contrastive losses": {"contrast_weight": 0.1},
    "self-distillation": {"self_distillation": True},
    "macil-sd": {"name": "macil-sd"},
}


def frame_ap(arguments: argparse.Namespace, encoders: Encoders, variant: dict[str, Any], seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                "manifest": arguments.train,
                "val_manifest": arguments.val,
                "embeddings": arguments.embeddings,
                "output": folder,
                "schedule": "fixed",
                "recipe": {"name": "product", **variant},
                "run": {"seed": seed, "progress": False, "accelerator": arguments.accelerator},
            }
        )
        notes = load_checkpoint(train(config, encoders=encoders)).notes
    return float(notes["metrics_of_last_epoch"]["val_frame_ap"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    bundle = Bundle.load(device="cpu", all_encoders=True)
    encoders = Encoders(bundle.manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio))
    print("| variant | frame AP | by seed |\n|---|---|---|")
    for name in arguments.only:
        values = [frame_ap(arguments, encoders, VARIANTS[name], seed) for seed in range(arguments.seeds)]
        row = json.dumps([round(value, 3) for value in values])
        print(f"| {name} | {statistics.mean(values):.3f} | {row} |", flush=True)


if __name__ == "__main__":
    main()
