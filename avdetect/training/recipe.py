"""Manifest -> checkpoint: START READING HERE.

read_training_data    what there is, and all that is wrong with it
extract               embeddings of the videos, by the scorer's own stages
BagDataset            a bag per video
scene_bags            and bags drawn from composed scenes, where there are clips and sounds to compose them of
ProductModule         networks and losses; or MacilSdModule
Trainer               Lightning: devices, precision, logs, checkpoints
save_checkpoint       weights, config, classes and how they came about
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytorch_lightning as lightning
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader

from avdetect.errors import CheckpointError, UsageError
from avdetect.files import make_folder
from avdetect.labels.feature_files import FEATURE_HOP_S
from avdetect.labels.videos import UNNAMED_EVENT
from avdetect.models.heads import topk_mean
from avdetect.models.macil_sd import MacilSdConfig
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from avdetect.training.config import MacilSdRecipe, ProductRecipe, TrainConfig
from avdetect.training.data import (
    BagDataset,
    Comparison,
    Divided,
    TrainingData,
    collate,
    comparison,
    divide,
    load_video,
    read_training_data,
    statistics,
)
from avdetect.training.embeddings import EmbeddingStore, Encoders, extract, fingerprint
from avdetect.training.module import BagModule, MacilSdModule, ProductModule
from avdetect.training.progress import DataPlan, TrainingObserver, TrainingOutcome, TrainingPlan
from avdetect.training.scenes.supply import BagMix, scene_bags
from avdetect.training.trainer import (
    best_state,
    interruptible,
    last_state_path,
    load_state,
    make_trainer,
    quiet_lightning,
    train_loader,
)

__all__ = ["read_data", "train"]

CHECKPOINT_NAME = "checkpoint.safetensors"
_BAGS_LOOKED_AT = 200
_FLAT_SPREAD = 0.05
"""Scores of whole videos that lie within this say that the network tells none from another."""


def train(
    config: TrainConfig,
    *,
    encoders: Encoders | None = None,
    on_extracted: Callable[[int, int], None] | None = None,
    on_composed: Callable[[int, int], None] | None = None,
    observer: TrainingObserver | None = None,
) -> Path:
    """Train a network, and write it as a checkpoint.

    Args:
        config: all choices.
        encoders: of the bundle that the network will run in; not needed for a manifest of features.
        on_extracted: called with the number of videos whose embeddings were made and the number to make.
        on_composed: called with the number of scenes composed and the number to compose, where there are such.
        observer: is told how training goes.

    Returns:
        The checkpoint, in ``config.output``.

    Raises:
        DataError: the manifest has mistakes, or videos cannot be used.
        UsageError: choices that contradict each other.
        CheckpointError: the teacher cannot be used.
        OutputError: the output folder cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is there to be resumed.
    """
    data = read_data(config)
    divided = divide(data, config)
    last = last_state_path(config)
    one_class = isinstance(config.recipe, MacilSdRecipe)
    compared = comparison(divided, one_class=one_class)
    plan = _data_plan(config, divided, compared)
    make_folder(config.output)
    if observer is not None and getattr(rank_zero_only, "rank", 0) == 0:  # the first of several processes
        observer.on_data(plan)
    store = _embeddings(config, divided, data, encoders, on_extracted)

    lightning.seed_everything(config.run.seed, workers=True, verbose=False)
    class_names = (UNNAMED_EVENT,) if one_class else divided.class_names
    make_dataset = partial(
        BagDataset, class_names=None if one_class else class_names, load=partial(load_video, store=store)
    )
    video_bags = make_dataset(divided.train, max_snippets=config.recipe.max_snippets) if divided.train else None
    train_bags = _with_scenes(config, video_bags, encoders, class_names, on_composed)
    val_bags = make_dataset(divided.val)

    module = _module(config, train_bags, class_names, encoders)
    module.validate_on(
        divided.val,
        val_bags.video_labels,
        hop_s=encoders.manifest.hop_s if encoders is not None else FEATURE_HOP_S,
    )
    val_loader = DataLoader(val_bags, collate_fn=collate) if divided.val else None  # one bag at a time: no padding
    with quiet_lightning(), interruptible():
        trainer = make_trainer(config, compared.metric, observer)
        if observer is not None and trainer.is_global_zero:
            observer.on_plan(_plan(config, trainer, module, last))
        trainer.fit(module, train_loader(config, train_bags), val_loader, ckpt_path=last, weights_only=True)
        epoch = _keep(config, trainer, module, plan)
        flat = _flat_classes(module, train_bags, class_names)
    checkpoint = config.output / CHECKPOINT_NAME
    if trainer.is_global_zero:
        notes = {
            "config": json.loads(config.model_dump_json()),
            "num_train_videos": len(divided.train),
            "num_val_videos": len(divided.val),
            "epoch": epoch,
            "metrics_of_last_epoch": {name: round(float(value), 4) for name, value in trainer.callback_metrics.items()},
            "flat_classes": flat,
            "encoders": fingerprint(encoders.manifest) if encoders is not None else None,
        }
        save_checkpoint(Checkpoint(module.network.eval(), class_names, notes), checkpoint)
        if observer is not None:
            observer.on_end(TrainingOutcome(checkpoint, epoch, flat))
    return checkpoint


def read_data(config: TrainConfig) -> TrainingData:
    """The videos, or none where scenes are all there is."""
    if config.manifest is not None:
        return read_training_data(config.manifest, class_names=config.class_names, composed=config.scenes is not None)
    if config.scenes is None:
        raise UsageError("there is nothing to train on: name a list of videos, or scenes to compose.")
    if config.class_names is None:
        raise UsageError("scenes do not say which classes to learn: name them with class_names.")
    return TrainingData(config.scenes.clips, config.class_names, ())


def _with_scenes(
    config: TrainConfig,
    videos: BagDataset | None,
    encoders: Encoders | None,
    class_names: Sequence[str],
    on_composed: Callable[[int, int], None] | None,
) -> BagMix:
    """The bags of the videos, and those drawn from composed scenes."""
    if config.scenes is None:
        return BagMix(videos, None, num_drawn=0, seed=config.run.seed)
    if isinstance(config.recipe, MacilSdRecipe):
        raise UsageError("the macil-sd recipe learns from videos alone.")
    if encoders is None:
        raise UsageError("scenes are composed: a bundle is needed, whose encoders make embeddings of them.")
    source = config.scenes
    if source.embeddings is None:
        source = source.model_copy(update={"embeddings": config.output / "scenes"})
    drawn = scene_bags(source, encoders, class_names, on_done=on_composed)
    return BagMix(videos, drawn, num_drawn=source.bags_per_epoch, seed=config.run.seed)


def _embeddings(
    config: TrainConfig,
    divided: Divided,
    data: TrainingData,
    encoders: Encoders | None,
    on_extracted: Callable[[int, int], None] | None,
) -> EmbeddingStore | None:
    """Make all embeddings that are missing; None for features that were made elsewhere."""
    videos = [record.media for record in (*divided.train, *divided.val) if isinstance(record.media, Path)]
    if not videos:
        return None
    if encoders is None:
        raise UsageError(f"{data.path} lists videos: a bundle is needed, whose encoders make embeddings of them.")
    store = EmbeddingStore(config.embeddings or config.output / "embeddings")
    extract(videos, encoders, store, on_done=on_extracted)
    return store


def _module(config: TrainConfig, bags: BagMix, class_names: Sequence[str], encoders: Encoders | None) -> BagModule:
    first, labels = bags[0], bags.labels
    audio_dim, visual_dim, num_classes = first.audio.shape[1], first.visual.shape[1], labels.shape[1]
    recipe = config.recipe
    if isinstance(recipe, MacilSdRecipe):
        if config.teacher is not None:
            raise UsageError("the macil-sd recipe has no teacher.")
        return MacilSdModule(recipe, MacilSdConfig(audio_dim=audio_dim, visual_dim=visual_dim, num_classes=num_classes))
    network = TwoStreamConfig(
        audio_dim=audio_dim,
        visual_dim=visual_dim,
        num_classes=num_classes,
        hidden_dim=recipe.hidden_dim,
        num_heads=recipe.num_heads,
        feed_forward_dim=recipe.feed_forward_dim,
        left_context_snippets=recipe.left_context_snippets,
        lookahead_snippets=recipe.lookahead_snippets,
        position_range_snippets=recipe.position_range_snippets,
        smoothing_range_snippets=recipe.smoothing_range_snippets,
        fusion=recipe.fusion,
        only_heard=_places("only_heard", recipe.only_heard, class_names),
        only_seen=_places("only_seen", recipe.only_seen, class_names),
        dropout=recipe.block_dropout,
    )
    return ProductModule(
        recipe,
        network,
        labels,
        statistics(bags, len(bags)),
        _used_visual(recipe, visual_dim, encoders),
        _teacher(config, network),
    )


def _places(setting: str, names: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    unknown = [name for name in names if name not in class_names]
    if unknown:
        raise UsageError(f"recipe.{setting} names {', '.join(unknown)}; the classes are {', '.join(class_names)}.")
    return tuple(class_names.index(name) for name in names)


def _used_visual(recipe: ProductRecipe, visual_dim: int, encoders: Encoders | None) -> Tensor:
    """Bool ``[Dv]``: all of it, its motion part, or of that the logits."""
    used = torch.ones(visual_dim, dtype=torch.bool)
    motion = encoders.manifest.motion if encoders is not None else None
    if motion is not None and not recipe.use_appearance:
        used[: visual_dim - motion.embedding_dim] = False
    if recipe.look_at == "logits":
        if motion is None or not motion.logits:
            raise UsageError(
                "recipe.look_at is logits, and the bundle's motion encoder has none: train-motion makes one."
            )
        used[visual_dim - motion.embedding_dim :] = False
        used[[visual_dim - motion.embedding_dim + place for place in motion.logits.values()]] = True
    return used


def _teacher(config: TrainConfig, network: TwoStreamConfig) -> TwoStreamNet | None:
    if config.teacher is None:
        return None
    teacher = load_checkpoint(config.teacher).network
    sizes = ("audio_dim", "visual_dim", "num_classes")
    if not isinstance(teacher, TwoStreamNet) or any(
        getattr(teacher.config, size) != getattr(network, size) for size in sizes
    ):
        raise CheckpointError(f"{config.teacher} cannot teach: it takes other embeddings or knows other classes.")
    return teacher.requires_grad_(False)


def _data_plan(config: TrainConfig, divided: Divided, compared: Comparison) -> DataPlan:
    return DataPlan(
        num_train=len(divided.train),
        num_val=len(divided.val),
        videos_by_class=divided.videos_by_class(),
        monitored=compared.metric,
        cannot_choose=compared.problem,
        keeps_best=compared.metric is not None and config.schedule == "best",
    )


def _plan(config: TrainConfig, trainer: lightning.Trainer, module: BagModule, last: Path | None) -> TrainingPlan:
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    return TrainingPlan(
        recipe=config.recipe.name,
        device=f"{trainer.strategy.root_device}{processes}",
        num_weights=sum(parameter.numel() for parameter in module.network.parameters()),
        num_epochs=config.recipe.epochs,
        num_done=0 if last is None else int(load_state(last)["epoch"]) + 1,
    )


def _keep(config: TrainConfig, trainer: lightning.Trainer, module: BagModule, plan: DataPlan) -> int:
    """Give the network the weights of the epoch that is kept, and say which one that is, from 1."""
    if not plan.keeps_best:
        return trainer.current_epoch
    best = best_state(config)
    module.load_state_dict(best["state_dict"], strict=False)
    return int(best["epoch"]) + 1


@torch.inference_mode()
def _flat_classes(module: BagModule, bags: BagMix, class_names: Sequence[str]) -> tuple[str, ...]:
    """Find the classes that the network has not learned: among what it learned from their scores are all alike."""
    module.eval()
    picked = range(0, len(bags), math.ceil(len(bags) / _BAGS_LOOKED_AT))
    scores = []
    for index in picked:
        batch = collate([bags[index]])
        scores.append(topk_mean(module.outputs(batch).logits, batch.num_instances).sigmoid()[0])
    together = torch.stack(scores)
    spread = together.amax(0) - together.amin(0)
    return tuple(name for name, one in zip(class_names, spread.tolist(), strict=True) if one < _FLAT_SPREAD)
