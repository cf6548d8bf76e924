"""Short labelled clips -> a motion encoder: START READING HERE.

read_clips            which clips there are, of what and from where
decode_clips          small luma pictures in memory, by random access
ViewSource            views: parts of clips, disturbed, drawn anew for every step
MotionNet             the appearance encoder's trunk, shown a picture and two differences
MotionModule          the loss of a step
Trainer               Lightning: devices, saved states, the log
measure               what the encoder makes of the places that were held out
save_weights          weights, and how they came about
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from avdetect.errors import CheckpointError, DataError, UsageError
from avdetect.files import make_folder
from avdetect.training.checkpoint import load_weights, save_weights
from avdetect.training.motion.clip_pictures import ClipPictures, decode_clips, divided
from avdetect.training.motion.config import MotionTrainConfig, states_folder
from avdetect.training.motion.measure import HeldOut, measure
from avdetect.training.motion.network import MotionNet, MotionNetConfig, MotionOutputs
from avdetect.training.motion.views import MotionBatch, ViewOptions, ViewSource
from avdetect.training.progress import DataPlan, MetricsLog, TrainingObserver, TrainingPlan
from avdetect.training.scenes.material import Clip, read_clips
from avdetect.training.trainer import SeedEveryStep, interruptible, load_state, quiet_lightning, resumable

__all__ = [
    "LUMA_SIZE",
    "MOTION_CHECKPOINT_NAME",
    "MotionCheckpoint",
    "MotionModule",
    "appearance_digest",
    "load_motion",
    "train_motion",
]

MOTION_CHECKPOINT_NAME = "motion.safetensors"
LUMA_SIZE = (120, 160)
"""Of the pictures that the encoder's graph takes."""
_FORMAT = "avdetect-motion-1"
_STATES, _LOGS = "lightning", "logs"
_WARM_UP_SHARE = 0.05
_GRADIENT_NORM = 5.0
_BOTTLENECK_WEIGHT = 0.5


def train_motion(
    config: MotionTrainConfig,
    appearance: bytes,
    *,
    on_decoded: Callable[[int, int], None] | None = None,
    observer: TrainingObserver | None = None,
) -> Path:
    """Train a motion encoder on, from an appearance encoder, and write it as a checkpoint.

    Args:
        config: all choices.
        appearance: graph of the appearance encoder, an ONNX file.
        on_decoded: called with the number of clips decoded and to decode.
        observer: is told how training goes.

    Returns:
        The checkpoint, in ``states_folder(config.output)``.

    Raises:
        DataError: the list of clips has mistakes, or a clip cannot be read.
        UsageError: choices that contradict each other.
        BundleError: the appearance encoder is not one that can be trained on.
        OutputError: the folder of states cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is there to be resumed.
    """
    kept, held_out = divided(read_clips(config.clips), config.hold_out_places)
    class_names = _class_names(kept, held_out, config.clips)
    last = _last_state(config)
    folder = states_folder(config.output)
    for path in (folder, folder / _LOGS):
        make_folder(path)
    pictures = decode_clips((*kept, *held_out), LUMA_SIZE, on_decoded=on_decoded)
    learned, rest = pictures[: len(kept)], pictures[len(kept) :]
    module = MotionModule(config, learned, class_names, appearance)
    if observer is not None:
        observer.on_data(_data_plan(learned, rest))
        observer.on_plan(_plan(config, module, last))
    steps = math.ceil(2 * len(learned) / config.recipe.batch_views)
    with quiet_lightning(), interruptible():
        trainer = _trainer(config, observer)
        trainer.fit(module, DataLoader(_Steps(steps), batch_size=None), ckpt_path=last, weights_only=True)
    network = module.network.eval()
    measured = measure(network, rest, class_names) if rest else None
    checkpoint = MotionCheckpoint(
        network, class_names, appearance_digest(appearance), _notes(config, learned, rest, measured)
    )
    path = folder / MOTION_CHECKPOINT_NAME
    _save(checkpoint, path)
    return path


class _Steps(Dataset[int]):
    """Of an epoch. What a step draws depends on its number alone, so there is nothing to say but how many there are."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, step: int) -> int:
        return step


class MotionModule(lightning.LightningModule):
    """The network and the loss of a step.

    Args:
        config: all choices.
        clips: what is learned from.
        class_names: the outputs.
        appearance: graph of the appearance encoder.
    """

    def __init__(
        self,
        config: MotionTrainConfig,
        clips: tuple[ClipPictures, ...],
        class_names: tuple[str, ...],
        appearance: bytes,
    ) -> None:
        super().__init__()
        recipe = config.recipe
        torch.manual_seed(config.run.seed)
        size = (recipe.picture_height, recipe.picture_width)
        net_config = MotionNetConfig(len(class_names), size=size, bottleneck_dim=recipe.bottleneck_dim)
        self.recipe = recipe
        self.network = MotionNet(onnx.load_from_string(appearance), net_config)
        options = ViewOptions(size=size)
        if not recipe.synthetic_negatives:
            options = replace(options, disturbed_events=0.0, disturbed_normal=0.0)
        self._views = ViewSource(clips, class_names, options, seed=config.run.seed)

    def training_step(self, _: Any) -> Tensor:
        """Binary cross-entropy of mixed views; what is drawn depends on the number of the step alone."""
        batch = self._views.draw(self.global_step, self.recipe.batch_views)
        outputs, labels = self._mixed(MotionBatch(*(tensor.to(self.device) for tensor in batch)))
        loss, bottleneck_loss = (
            functional.binary_cross_entropy_with_logits(logits, labels)
            for logits in (outputs.logits, outputs.bottleneck_logits)
        )
        self.log_dict(
            {"loss": loss, "bottleneck_loss": bottleneck_loss},
            on_step=False,
            on_epoch=True,
            batch_size=len(labels),
        )
        return loss + _BOTTLENECK_WEIGHT * bottleneck_loss

    def _mixed(self, batch: MotionBatch) -> tuple[MotionOutputs, Tensor]:
        """What the network makes of views mixed in pairs, and their mixed labels."""
        channels = self.network.prepare(batch.pictures, batch.rates)
        labels = batch.labels
        if self.recipe.mixup > 0:
            share = float(torch.distributions.Beta(self.recipe.mixup, self.recipe.mixup).sample())
            order = torch.randperm(len(labels), device=labels.device)
            channels = torch.lerp(channels[order], channels, share)
            labels = torch.lerp(labels[order], labels, share)
        return self.network.read(channels), labels

    def configure_optimizers(self) -> Any:
        """AdamW; every tensor of the trunk moves by the same share of its size, whatever that is.

        Batch normalisation is folded into the convolutions, so that the weights of some are fifty times those of
        others; with one rate for all, the small ones would be learned anew.
        """
        recipe = self.recipe
        trunk = [weight for weight in self.network.trunk.parameters() if weight.requires_grad]
        known = {id(weight) for weight in self.network.trunk.parameters()}
        new = [weight for weight in self.network.parameters() if id(weight) not in known]
        groups: list[dict[str, Any]] = [
            {"params": [weight], "lr": recipe.learning_rate * float(weight.detach().square().mean().sqrt())}
            for weight in trunk
        ]
        groups.append({"params": new, "lr": recipe.head_learning_rate})
        optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_share(self, step: int) -> float:
        done = (step + 1) / (self.trainer.estimated_stepping_batches + 1)
        if done < _WARM_UP_SHARE:
            return done / _WARM_UP_SHARE
        return (1 + math.cos(math.pi * min((done - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE), 1.0))) / 2

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a run that goes on has to agree with."""
        checkpoint["recipe"] = self.recipe.model_dump()


@dataclass(frozen=True, slots=True, eq=False)
class MotionCheckpoint:
    """A trained motion encoder."""

    network: MotionNet
    class_names: tuple[str, ...]
    appearance: str
    """Digest of the appearance encoder's graph that it was trained on from."""
    notes: Mapping[str, Any]
    """How it came about."""


def appearance_digest(appearance: bytes) -> str:
    """By which a checkpoint knows the graph that its network was made of."""
    return hashlib.sha256(appearance).hexdigest()


def load_motion(path: Path, appearance: bytes) -> MotionCheckpoint:
    """Read what ``train_motion`` wrote.

    Args:
        path: the checkpoint.
        appearance: graph of the appearance encoder that it was trained on from.

    Raises:
        CheckpointError: the file is not there, is damaged, or was trained on from another encoder.
    """

    def build(description: dict[str, Any], tensors: dict[str, Tensor]) -> MotionCheckpoint:
        if description["appearance"] != appearance_digest(appearance):
            raise CheckpointError(f"{path} was trained on from another appearance encoder: give its bundle as --base.")
        config = {**description["config"], "size": tuple(description["config"]["size"])}
        network = MotionNet(onnx.load_from_string(appearance), MotionNetConfig(**config))
        network.load_state_dict(tensors)
        return MotionCheckpoint(
            network.eval(), tuple(description["class_names"]), description["appearance"], description["notes"]
        )

    return load_weights(
        path, build, file_format=_FORMAT, if_other="is no motion encoder: `avdetect train-motion` writes one."
    )


def _save(checkpoint: MotionCheckpoint, path: Path) -> None:
    description = {
        "config": asdict(checkpoint.network.config),
        "class_names": checkpoint.class_names,
        "appearance": checkpoint.appearance,
        "notes": dict(checkpoint.notes),
    }
    save_weights(checkpoint.network, description, path, file_format=_FORMAT)


def _class_names(kept: tuple[Clip, ...], held_out: tuple[Clip, ...], where: Path) -> tuple[str, ...]:
    names = tuple(sorted({clip.label for clip in kept if clip.label is not None}))
    if not names:
        raise DataError(f"{where}: all clips that are learned from are normal; there must be events among them.")
    if all(clip.label is not None for clip in kept):
        raise DataError(f"{where}: no clip that is learned from is normal; without such, everything is an event.")
    unknown = sorted({clip.label for clip in held_out if clip.label is not None} - set(names))
    if unknown:
        raise UsageError(f"all clips of {unknown[0]} are of places that are held out: hold out fewer.")
    return names


def _last_state(config: MotionTrainConfig) -> Path | None:
    last = states_folder(config.output) / _STATES / "last.ckpt"
    return resumable(last, config.recipe) if config.run.resume else None


def _data_plan(learned: tuple[ClipPictures, ...], rest: tuple[ClipPictures, ...]) -> DataPlan:
    names = sorted({one.clip.label or "" for one in (*learned, *rest)}, key=lambda name: (name == "", name))
    counts = [Counter(one.clip.label or "" for one in part) for part in (learned, rest)]
    return DataPlan(
        num_train=len(learned),
        num_val=len(rest),
        videos_by_class={name: (counts[0][name], counts[1][name]) for name in names},
        monitored=None,
        cannot_choose=None,
        keeps_best=False,
    )


def _plan(config: MotionTrainConfig, module: MotionModule, last: Path | None) -> TrainingPlan:
    return TrainingPlan(
        recipe="motion",
        device=config.run.accelerator,
        num_weights=sum(weight.numel() for weight in module.network.parameters() if weight.requires_grad),
        num_epochs=config.recipe.epochs,
        num_done=0 if last is None else int(load_state(last)["epoch"]) + 1,
    )


def _trainer(config: MotionTrainConfig, observer: TrainingObserver | None) -> lightning.Trainer:
    run, folder = config.run, states_folder(config.output)
    callbacks: list[Callback] = [
        SeedEveryStep(run.seed),
        ModelCheckpoint(folder / _STATES, filename="last", enable_version_counter=False, save_on_train_epoch_end=True),
        MetricsLog(folder / _LOGS / "metrics.csv", None, observer),
    ]
    return lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        precision=run.precision,
        max_epochs=config.recipe.epochs,
        gradient_clip_val=_GRADIENT_NORM,
        deterministic="warn",
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        callbacks=callbacks,
    )


def _notes(
    config: MotionTrainConfig,
    learned: tuple[ClipPictures, ...],
    rest: tuple[ClipPictures, ...],
    measured: HeldOut | None,
) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "recipe": json.loads(config.recipe.model_dump_json()),
        "seed": config.run.seed,
        "clips": len(learned),
        "places": len({one.clip.place for one in learned}),
    }
    if rest:
        notes["held_out_places"] = sorted({one.clip.place for one in rest})
        notes["held_out_clips"] = len(rest)
    if measured is not None:
        notes["held_out"] = measured.figures()
    return notes
