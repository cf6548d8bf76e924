"""Lightning, set up: devices, logs, checkpoints, the order of the bags, and what it must not say."""

from __future__ import annotations

import hashlib
import logging
import math
import pickle
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pydantic import BaseModel
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from avdetect.errors import CheckpointError, UsageError
from avdetect.training.config import TrainConfig
from avdetect.training.data import collate
from avdetect.training.progress import MetricsLog, TrainingObserver
from avdetect.training.scenes.supply import BagMix

__all__ = [
    "SeedEveryStep",
    "best_state",
    "interruptible",
    "last_state_path",
    "load_state",
    "make_trainer",
    "quiet_lightning",
    "resumable",
    "train_loader",
]

_STATES = "lightning"
"""Folder in the output: what is needed to go on, and the best epoch."""


def make_trainer(config: TrainConfig, monitored: str | None, observer: TrainingObserver | None) -> lightning.Trainer:
    """Build what runs the epochs.

    Args:
        config: all choices.
        monitored: the metric by which epochs are compared; ``None`` where there is none.
        observer: is told how training goes.

    Raises:
        UsageError: training is to stop early, and there is nothing to tell when.
    """
    run = config.run
    callbacks: list[Callback] = [
        # Without a metric the one file kept is the latest.
        ModelCheckpoint(
            config.output / _STATES, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
        SeedEveryStep(run.seed),
        MetricsLog(config.output / "logs" / "metrics.csv", monitored, observer),
    ]
    if monitored is not None:
        callbacks.append(
            _LaterOfTheBest(
                config.output / _STATES,
                filename="best",
                monitor=monitored,
                mode="max",
                enable_version_counter=False,
            )
        )
        if config.early_stop_epochs is not None:
            callbacks.append(EarlyStopping(monitored, mode="max", patience=config.early_stop_epochs))
    elif config.early_stop_epochs is not None:
        raise UsageError("too little is held out to validate on, so training cannot stop early.")
    return lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.num_nodes,
        strategy=run.strategy,
        precision=run.precision,
        max_epochs=config.recipe.epochs,
        deterministic="warn",
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=TensorBoardLogger(config.output, name="", version="logs"),
        callbacks=callbacks,
    )


def train_loader(config: TrainConfig, bags: BagMix) -> DataLoader[Any]:
    """Batches to train on."""
    return DataLoader(
        bags,
        batch_size=config.recipe.batch_bags,
        sampler=_Shuffled(bags, seed=config.run.seed),
        collate_fn=collate,
        num_workers=config.run.loader_workers,
        persistent_workers=config.run.loader_workers > 0,
    )


class _Shuffled(DistributedSampler[Any]):
    """Every process's share, in an order that seed and epoch alone decide; each bag by its epoch and number.

    It is made before there is a process group, and asks for its rank when it is iterated over. Lightning's own would
    divide the validation bags as well, and every process is to see all of them.
    """

    def __init__(self, bags: BagMix, *, seed: int) -> None:
        super().__init__(bags, num_replicas=1, rank=0, seed=seed)
        self._num_bags = len(bags)

    def __iter__(self) -> Iterator[Any]:
        self._join()
        return ((self.epoch, number) for number in super().__iter__())

    def __len__(self) -> int:
        self._join()
        return super().__len__()

    def _join(self) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.num_replicas, self.rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
            self.num_samples = math.ceil(self._num_bags / self.num_replicas)
            self.total_size = self.num_samples * self.num_replicas


class _LaterOfTheBest(ModelCheckpoint):
    """Keeps the later of equally good epochs: few videos are soon told apart without a mistake."""

    def check_monitor_top_k(self, trainer: lightning.Trainer, current: Tensor | None = None) -> bool:
        if current is None or not self.best_k_models:
            return super().check_monitor_top_k(trainer, current)
        return trainer.strategy.reduce_boolean_decision(bool(current >= self.best_k_models[self.kth_best_model_path]))


class SeedEveryStep(Callback):
    """Makes what a step draws independent of the steps before it, so that resuming changes nothing."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch with the seed of the run and the number of the step."""
        text = f"{self._seed} {trainer.global_step} {trainer.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True))


def last_state_path(config: TrainConfig) -> Path | None:
    """Find what an interrupted run left, if it is to be resumed.

    Raises:
        UsageError: there is none, or it was trained with other settings.
    """
    return resumable(config.output / _STATES / "last.ckpt", config.recipe) if config.run.resume else None


def resumable(last: Path, recipe: BaseModel) -> Path:
    """Check that a run can go on from ``last`` with ``recipe``, and give it back.

    Raises:
        UsageError: it is not there, or was trained with other settings.
    """
    if not last.is_file():
        raise UsageError(f"there is nothing to resume: {last} is not there.")
    mine, theirs = recipe.model_dump(), load_state(last).get("recipe", {})
    changed = sorted(name for name in theirs if theirs[name] != mine.get(name))
    if changed:
        values = ", ".join(f"recipe.{name}={theirs[name]}" for name in changed)
        raise UsageError(f"{last} was trained with other settings: resume with {values}, or train anew.")
    return last


def load_state(path: Path) -> dict[str, Any]:
    """Read what Lightning saved. Tensors and plain values are all that is read: a file that would run code is refused.

    Raises:
        CheckpointError: the file is damaged, or holds something else.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged, or was not written by avdetect train; train anew.") from error
    return state


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence its advertisements, and its warnings of choices that are made on purpose."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in (
            ".*treespec, LeafSpec.*",
            ".*does not have many workers.*",
            ".*exists and is not empty.*",
            ".*`?val_dataloader.*",
            ".*GPU available.*",
            ".*Grad strides do not match bucket view strides.*",
            ".*does not have a deterministic implementation.*",
            r".*`lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",  # half precision skips steps that overflow
        ):
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a ``KeyboardInterrupt`` again: Lightning exits the program, and ignores the next one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from error
        raise


def best_state(config: TrainConfig) -> dict[str, Any]:
    """Load the state of the best epoch."""
    return load_state(config.output / _STATES / "best.ckpt")
