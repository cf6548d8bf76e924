"""What each part of the product's recipe is worth: frame AP where events are known, fixed schedule, mean over seeds.

    python benchmarks/ablation.py TRAIN VAL EMBEDDINGS [--seeds 3]
    python benchmarks/ablation.py TRAIN VAL EMBEDDINGS --folds 4

The second form leaves VAL alone: each of so many parts of TRAIN is held out once, and what counts is how well its
videos are told apart (bag AP, mean over classes).

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
    "one snippet of lookahead": {"lookahead_snippets": 1},
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


def trained_metrics(
    arguments: argparse.Namespace,
    encoders: Encoders,
    variant: dict[str, Any],
    manifests: dict[str, Path],
    seed: int,
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                **manifests,
                "embeddings": arguments.embeddings,
                "output": folder,
                "schedule": "fixed",
                "recipe": {"name": "product", **variant},
                "run": {"seed": seed, "progress": False, "accelerator": arguments.accelerator},
            }
        )
        notes = load_checkpoint(train(config, encoders=encoders)).notes
    metrics: dict[str, float] = notes["metrics_of_last_epoch"]
    return metrics


def fold(train: Path, folder: Path, part: int, num_parts: int) -> dict[str, Path]:
    """A manifest of ``train`` in which every ``num_parts``-th video is to validate on."""
    rows = [json.loads(line) for line in train.read_text("utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["video"] = str((train.parent / row["video"]).resolve())
        row["split"] = "val" if number % num_parts == part else "train"
    manifest = folder / f"fold-{part}.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return {"manifest": manifest}


def values_of(arguments: argparse.Namespace, encoders: Encoders, variant: dict[str, Any]) -> list[float]:
    if not arguments.folds:
        both = {"manifest": arguments.train, "val_manifest": arguments.val}
        return [
            trained_metrics(arguments, encoders, variant, both, seed)["val_frame_ap"] for seed in range(arguments.seeds)
        ]
    with tempfile.TemporaryDirectory() as folder:
        folds = [fold(arguments.train, Path(folder), part, arguments.folds) for part in range(arguments.folds)]
        return [trained_metrics(arguments, encoders, variant, one, seed=0)["val_bag_ap"] for one in folds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    bundle = Bundle.load(device="cpu", all_encoders=True)
    encoders = Encoders(bundle.manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio))
    print(f"| variant | {'bag AP' if arguments.folds else 'frame AP'} | by {'part' if arguments.folds else 'seed'} |")
    print("|---|---|---|")
    for name in arguments.only:
        values = values_of(arguments, encoders, VARIANTS[name])
        row = json.dumps([round(value, 3) for value in values])
        print(f"| {name} | {statistics.mean(values):.3f} | {row} |", flush=True)


if __name__ == "__main__":
    main()
