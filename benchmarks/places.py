"""How a detector does in places and on recordings that it has never met: the table by which choices are made.

    python benchmarks/places.py CLIPS SOUNDS --sources TABLE --encoders DIR --work DIR [--seeds 3] [--only VARIANT ...]

Clips are divided into five folds by place, sounds by origin. For each fold a detector learns from scenes composed of
the other four, with encoders that have not met the fold either (``DIR/fold0`` to ``DIR/fold4``, bundles as written by
``avdetect train-motion`` and ``train-sound``; without ``--encoders`` those of the embedded bundle), and is measured on
scenes composed of the fold. Thresholds are chosen on the other folds' scenes, as scored by detectors that had not
met them.

Printed are, mean over folds and then over seeds with their range: frame AP (any event, those only heard, only seen,
both; every class), and at the operating point false alarms an hour where nothing happens and the share of events
that are noticed.
``--embedded`` measures the bundle that ships, whatever it learned from, on the same scenes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avdetect.evaluation.calibration import calibrate
from avdetect.evaluation.evaluate import evaluate
from avdetect.events.curve import Rescaling, ScoreCurve
from avdetect.features.encoders import EncoderSessions
from avdetect.labels.videos import LabelledVideo
from avdetect.manifest import Manifest
from avdetect.models.two_stream import TwoStreamNet, with_window
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.scorer import score_features
from avdetect.training.checkpoint import load_checkpoint
from avdetect.training.config import parse_config
from avdetect.training.embeddings import Encoders, fingerprint
from avdetect.training.recipe import CHECKPOINT_NAME, train
from avdetect.training.scenes.bank import EncodedScene, encoded_scenes, without_appearance
from avdetect.training.scenes.library import SceneMaterial, load_library
from avdetect.training.scenes.material import fold_of, read_clips, read_sound_files
from avdetect.training.scenes.scene import Scene, SceneOptions, compose_scene
from avdetect_export.default_detector import RECIPE

NUM_FOLDS = 5
CLASSES = ("fight", "gunshot", "explosion", "scream", "glass", "siren", "crash")
HEARD = CLASSES[1:]
SEEN = CLASSES[:1]
MEASURED_SCENES = 100
"""Composed of each fold; half of them without events."""
ALLOWED: dict[str, Any] = {"false_per_hour": 5.0, "material": "folds of places"}
LOOKAHEAD_SNIPPETS = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "as it ships": {},
    "without contrast and self-distillation": {"contrast_weight": 0.0, "self_distillation": False},
    "without contrast": {"contrast_weight": 0.0},
    "without self-distillation": {"self_distillation": False},
    "labels of whole bags alone": {"snippet_weight": 0.0, "modality_weight": 1.0},
    "all numbers of the motion encoder": {"look_at": "motion", "visual_dropout": 0.7},
}
"""What each variant changes of the recipe that ships."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """What a detector is measured on, and what it may learn from."""

    number: int
    encoders: Encoders
    clips: Path
    sounds: Path
    """Lists of all other folds."""
    scenes: tuple[Scene, ...]
    embeddings: tuple[EncodedScene, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one fold and seed; shares and rates."""

    values: Mapping[str, float]


def material(arguments: argparse.Namespace) -> list[Fold]:
    """The folds, with their scenes composed and encoded; kept in the work folder."""
    clips, sounds = read_clips(arguments.clips), read_sound_files(arguments.sounds, arguments.sources)
    clip_folds = fold_of([one.place for one in clips], [one.label or "normal" for one in clips], num_folds=NUM_FOLDS)
    sound_folds = fold_of([one.origin for one in sounds], [one.label for one in sounds], num_folds=NUM_FOLDS)
    folds = []
    for number in range(NUM_FOLDS):
        folder = arguments.work / f"fold{number}"
        folder.mkdir(parents=True, exist_ok=True)
        others = [one for one, fold in zip(clips, clip_folds, strict=True) if fold != number]
        write_list(
            folder / "clips.jsonl",
            [{"file": str(one.path.resolve()), "class": one.label or "normal", "place": one.place} for one in others],
        )
        write_list(
            folder / "sounds.jsonl",
            [
                {"file": str(one.path.resolve()), "class": one.label, "origin": one.origin}
                for one, fold in zip(sounds, sound_folds, strict=True)
                if fold != number
            ],
        )
        left_out = SceneMaterial(
            tuple(one for one, fold in zip(clips, clip_folds, strict=True) if fold == number),
            tuple(one for one, fold in zip(sounds, sound_folds, strict=True) if fold == number),
            frozenset(HEARD),
        )
        encoders = encoders_of(None if arguments.encoders is None else arguments.encoders / f"fold{number}")
        options, seed = SceneOptions(), 1000 + number
        embeddings = encoded_scenes(
            left_out,
            options,
            without_appearance(encoders),
            CLASSES,
            num_scenes=MEASURED_SCENES,
            seed=seed,
            folder=arguments.work / "scenes",
        )
        library, rng = load_library(left_out), np.random.default_rng(seed)
        scenes = tuple(compose_scene(library, options, rng) for _ in range(MEASURED_SCENES))
        folds.append(Fold(number, encoders, folder / "clips.jsonl", folder / "sounds.jsonl", scenes, tuple(embeddings)))
    return folds


def write_list(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@cache
def encoders_of(bundle: Path | None) -> Encoders:
    loaded = (
        Bundle.load(device="cpu", all_encoders=True)
        if bundle is None
        else Bundle.load(bundle, device="cpu", all_encoders=True)
    )
    return Encoders(loaded.manifest, EncoderSessions(loaded.visual, loaded.motion, loaded.audio))


def trained(fold: Fold, recipe: Mapping[str, Any], seed: int, work: Path) -> TwoStreamNet:
    """A detector that has not met ``fold``; kept in the work folder, by what it learned with."""
    settings = {"name": "product", "only_seen": SEEN, "only_heard": HEARD, **RECIPE, **recipe}
    key = hashlib.sha256(
        json.dumps([settings, fingerprint(fold.encoders.manifest)], sort_keys=True).encode()
    ).hexdigest()
    output = work / "runs" / f"fold{fold.number}-seed{seed}-{key[:12]}"
    checkpoint = output / CHECKPOINT_NAME
    config = parse_config(
        {
            "output": output,
            "class_names": CLASSES,
            "schedule": "fixed",
            "scenes": {"clips": fold.clips, "sounds": fold.sounds, "embeddings": work / "scenes"},
            "recipe": settings,
            "run": {"seed": seed, "accelerator": "cpu", "progress": False},
        }
    )
    if not checkpoint.is_file():
        train(config, encoders=fold.encoders)
    network = load_checkpoint(checkpoint).network
    assert isinstance(network, TwoStreamNet)
    return with_window(network, lookahead_snippets=LOOKAHEAD_SNIPPETS)


@torch.inference_mode()
def curves(fold: Fold, network: TwoStreamNet) -> list[tuple[LabelledVideo, ScoreCurve]]:
    """What ``network`` says of the scenes of ``fold``, and what is so."""
    pairs = []
    hop_s = fold.encoders.manifest.hop_s
    for number, (scene, embeddings) in enumerate(zip(fold.scenes, fold.embeddings, strict=True)):
        length = len(embeddings.audio)
        visual = torch.zeros(1, length, network.config.visual_dim)
        visual[0, :, -embeddings.motion.shape[1] :] = torch.from_numpy(embeddings.motion.astype(np.float32))
        audio = torch.from_numpy(embeddings.audio.astype(np.float32))[None]
        outputs = network(audio, visual, torch.ones(1, length, 2, dtype=torch.bool))
        fused, heard, seen = (logits[0].sigmoid().numpy() for logits in outputs[:3])
        name = f"fold{fold.number}/scene{number}"
        starts = np.arange(length) * hop_s
        truth = truth_of(scene, name)
        curve = ScoreCurve(
            name,
            CLASSES,
            (True,) * len(CLASSES),
            starts,
            starts + hop_s,
            fused,
            heard,
            seen,
            np.ones((length, 2), bool),
        )
        pairs.append((truth, curve))
    return pairs


def embedded_curves(fold: Fold, bundle: Bundle) -> list[tuple[LabelledVideo, ScoreCurve]]:
    """What the detector of a bundle says of the scenes of ``fold``, encoded by the bundle, and what is so."""
    appearance = bundle.visual_dim - fold.embeddings[0].motion.shape[1]
    pairs = []
    for number, (scene, embeddings) in enumerate(zip(fold.scenes, fold.embeddings, strict=True)):
        visual = np.pad(embeddings.motion, ((0, 0), (appearance, 0)))
        truth = truth_of(scene, f"fold{fold.number}/scene{number}")
        pairs.append((truth, score_features(embeddings.audio, visual, bundle=bundle, source=truth.name)))
    return pairs


def truth_of(scene: Scene, name: str) -> LabelledVideo:
    return LabelledVideo(
        name, name, Path(name), scene.classes, bool(scene.events), events=scene.events, duration_s=scene.duration_s
    )


def figures(pairs: Sequence[tuple[LabelledVideo, ScoreCurve]], manifest: Manifest) -> dict[str, float]:
    """Of one fold, with the thresholds of ``manifest``."""
    result = evaluate(pairs, manifest)
    assert result.frames is not None
    values = {"any": result.frames.anomaly.average_precision}
    names = {"audio": "heard", "visual": "seen", "audio-visual": "both"}
    values |= {names[key]: ranking.average_precision for key, ranking in result.frames.modalities.items()}
    values |= {name: ranking.average_precision for name, ranking in result.frames.classes.items()}
    values["false/h"] = result.alarms.false_per_normal_hour
    values["noticed"] = result.alarms.detected_share
    return values


def rules() -> Manifest:
    """That of the embedded bundle, for its rules, with probabilities left as they are."""
    manifest = encoders_of(None).manifest
    plain = [spec.model_copy(update={"temperature": 1.0, "bias": 0.0}) for spec in manifest.classes]
    return manifest.model_copy(update={"classes": tuple(plain)})


def print_rules(manifest: Manifest) -> None:
    for spec in manifest.classes:
        print(
            f'    "{spec.name}": Fitted({spec.temperature}, {spec.bias}, {spec.rule.on}, {spec.rule.off}),', flush=True
        )


def measured(
    folds: Sequence[Fold], recipe: Mapping[str, Any], seed: int, work: Path, *, show_rules: bool
) -> list[dict[str, float]]:
    """The figures of every fold, with probabilities and thresholds that were fitted without it."""
    manifest = rules()
    pairs = [curves(fold, trained(fold, recipe, seed, work)) for fold in folds]
    if show_rules:
        print_rules(calibrate([pair for own in pairs for pair in own], manifest, **ALLOWED).manifest)
    rows = []
    for number, own in enumerate(pairs):
        others = [pair for fold, scored in enumerate(pairs) if fold != number for pair in scored]
        chosen = calibrate(others, manifest, **ALLOWED).manifest
        rescaling = Rescaling.of(chosen.classes)
        own = [(truth, replace(curve, scores=rescaling.apply(curve.scores))) for truth, curve in own]
        rows.append(figures(own, chosen))
    return rows


def print_row(name: str, by_seed: Sequence[Sequence[Mapping[str, float]]]) -> None:
    """A line of the table: mean over folds, then mean and range over seeds; and the range over folds."""
    cells = []
    for column in COLUMNS:
        seeds = [statistics.fmean(row.get(column, float("nan")) for row in rows) for rows in by_seed]
        folds = [row.get(column, float("nan")) for rows in by_seed for row in rows]
        digits = 1 if column == "false/h" else 3
        cells.append(
            f"{statistics.fmean(seeds):.{digits}f} ({min(seeds):.{digits}f}-{max(seeds):.{digits}f}; "
            f"folds {min(folds):.{digits}f}-{max(folds):.{digits}f})"
        )
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


COLUMNS = ("any", "heard", "seen", "both", "false/h", "noticed", *CLASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--sources", type=Path, help="table of where the sounds come from")
    parser.add_argument("--encoders", type=Path, help="folder of the folds' bundles")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--rules", action="store_true", help="print what default_rules.py holds")
    parser.add_argument("--embedded", action="store_true", help="measure the bundle that ships instead")
    parser.add_argument("--set", dest="settings", nargs="*", default=[], metavar="NAME=VALUE", help="of the recipe")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    folds = material(arguments)
    print(f"| variant | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    if arguments.embedded:
        bundle = Bundle.load(device="cpu")
        rows = [figures(embedded_curves(fold, bundle), bundle.manifest) for fold in folds]
        print_row("the bundle that ships, which has met these places", [rows])
        return
    extra = {name: json.loads(value) for name, value in (one.split("=", 1) for one in arguments.settings)}
    for name in arguments.only:
        recipe = VARIANTS[name] | extra
        by_seed = [
            measured(folds, recipe, seed, arguments.work, show_rules=arguments.rules and seed == 0)
            for seed in range(arguments.seeds)
        ]
        print_row(name, by_seed)


if __name__ == "__main__":
    main()
