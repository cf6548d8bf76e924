"""What each part of the product's recipe is worth: frame AP where events are known, fixed schedule, mean over seeds.

    python benchmarks/ablation.py TRAIN VAL EMBEDDINGS [--seeds 3]
    python benchmarks/ablation.py TRAIN VAL EMBEDDINGS --folds 4

The second form leaves VAL alone: each of so many parts of TRAIN is held out once, and what counts is how well its
videos are told apart (bag AP, mean over classes).

``EMBEDDINGS`` is what ``avdetect extract`` made of both manifests with the embedded bundle; what is missing is added.
Variants that learn the same are trained once, and differ in how the network is run.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from avdetect.features.encoders import EncoderSessions
from avdetect.models.heads import topk_mean
from avdetect.models.two_stream import TwoStreamNet, with_window
from avdetect.runtime.bundle import Bundle
from avdetect.training.checkpoint import Checkpoint, load_checkpoint
from avdetect.training.config import TrainConfig, parse_config
from avdetect.training.data import BagDataset, collate, load_video, read_training_data
from avdetect.training.embeddings import EmbeddingStore, Encoders
from avdetect.training.progress import ValidationMetrics, ValidationScores
from avdetect.training.recipe import divide, train


class Variant(NamedTuple):
    """The product, but for this."""

    recipe: dict[str, Any]
    """What it learns with."""
    lookahead_snippets: int | None = None
    """R that the trained network is run with; None for the one that it learned with."""


class Trial(NamedTuple):
    """What a variant learns from and is measured on."""

    train: Path
    val: Path | None
    """None where the manifest says what is held out."""
    seed: int


UNBOUNDED = {"left_context_snippets": None, "lookahead_snippets": None}
VARIANTS = {
    "product": Variant({}),
    "knowing what is seen and what is heard": Variant(
        {
            "only_seen": ["fight"],
            "only_heard": ["gunshot", "explosion", "scream", "glass", "siren", "crash"],
        }
    ),
    "whole video in both directions": Variant(UNBOUNDED),
    "learned with two snippets of lookahead, run with one": Variant({}, lookahead_snippets=1),
    "one snippet of lookahead": Variant({"lookahead_snippets": 1}),
    "no lookahead": Variant({"lookahead_snippets": 0}),
    "no smoothing": Variant({"smoothing_range_snippets": 0}),
    "evidence adds up": Variant({"fusion": "sum"}),
    "with appearance": Variant({"use_appearance": True}),
    "less noise and dropout": Variant({"noise": 0.1, "audio_dropout": 0.5}),
    "loss on the fused score as well": Variant({"fused_weight": 1.0}),
    "contrastive losses": Variant({"contrast_weight": 0.1}),
    "self-distillation": Variant({"self_distillation": True}),
    "macil-sd": Variant({"name": "macil-sd"}),
}


class Ablation:
    """Trains and measures variants.

    Args:
        encoders: of the embedded bundle.
        embeddings: folder of those of the videos.
        accelerator: for Lightning.
    """

    def __init__(self, encoders: Encoders, *, embeddings: Path, accelerator: str) -> None:
        self._encoders = encoders
        self._embeddings = embeddings
        self._accelerator = accelerator
        self._trained: dict[str, Checkpoint] = {}

    def metrics(self, variant: Variant, trial: Trial) -> ValidationMetrics:
        """How well ``variant`` does in ``trial``."""
        with TemporaryDirectory() as folder:
            config = self._config(variant, trial, Path(folder))
            learned = config.model_dump_json(exclude={"output"})
            if learned not in self._trained:
                self._trained[learned] = load_checkpoint(train(config, encoders=self._encoders))
        trained = self._trained[learned]
        if variant.lookahead_snippets is not None:
            return self._run_otherwise(trained, config, variant.lookahead_snippets)
        noted = trained.notes["metrics_of_last_epoch"]
        return ValidationMetrics(*(noted.get(f"val_{name}", float("nan")) for name in ValidationMetrics._fields))

    def _config(self, variant: Variant, trial: Trial, output: Path) -> TrainConfig:
        return parse_config(
            {
                "manifest": trial.train,
                "val_manifest": trial.val,
                "embeddings": self._embeddings,
                "output": output,
                "schedule": "fixed",
                "recipe": {"name": "product", **variant.recipe},
                "run": {"seed": trial.seed, "progress": False, "accelerator": self._accelerator},
            }
        )

    @torch.inference_mode()
    def _run_otherwise(self, trained: Checkpoint, config: TrainConfig, lookahead_snippets: int) -> ValidationMetrics:
        """Validates like training."""
        assert isinstance(trained.network, TwoStreamNet)
        network = with_window(trained.network, lookahead_snippets=lookahead_snippets)
        records = divide(read_training_data(config.manifest, class_names=config.class_names), config).val
        bags = BagDataset(records, trained.class_names, partial(load_video, store=EmbeddingStore(self._embeddings)))
        hop_s = self._encoders.manifest.hop_s
        scores = ValidationScores(records, bags.video_labels.numpy() > 0.5, hop_s=hop_s)
        for bag in (bags[index] for index in range(len(bags))):
            batch = collate([bag])
            logits = network(batch.audio, batch.visual, batch.present).logits
            of_bag = topk_mean(logits, batch.num_instances)
            scores.add(bag.video, logits[0].sigmoid().numpy(), of_bag[0].sigmoid().numpy())
        return scores.metrics()


def fold(train: Path, folder: Path, part: int, num_parts: int) -> Trial:
    """One in which every ``num_parts``-th video of ``train`` is to validate on."""
    rows = [json.loads(line) for line in train.read_text("utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["video"] = str((train.parent / row["video"]).resolve())
        row["split"] = "val" if number % num_parts == part else "train"
    manifest = folder / f"fold-{part}.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Trial(manifest, None, seed=0)


def print_table(ablation: Ablation, names: Sequence[str], trials: Sequence[Trial], *, folds: bool) -> None:
    """A row for each of ``names``, as soon as it is known."""
    print(f"| variant | {'bag AP' if folds else 'frame AP'} | by {'part' if folds else 'seed'} |")
    print("|---|---|---|")
    for name in names:
        metrics = [ablation.metrics(VARIANTS[name], trial) for trial in trials]
        values = [one.bag_ap if folds else one.frame_ap for one in metrics]
        row = json.dumps([round(value, 3) for value in values])
        print(f"| {name} | {statistics.mean(values):.3f} | {row} |", flush=True)


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
    ablation = Ablation(encoders, embeddings=arguments.embeddings, accelerator=arguments.accelerator)
    with TemporaryDirectory() as folder:
        if arguments.folds:
            parts = range(arguments.folds)
            trials = [fold(arguments.train, Path(folder), part, arguments.folds) for part in parts]
        else:
            trials = [Trial(arguments.train, arguments.val, seed) for seed in range(arguments.seeds)]
        print_table(ablation, arguments.only, trials, folds=bool(arguments.folds))


if __name__ == "__main__":
    main()
