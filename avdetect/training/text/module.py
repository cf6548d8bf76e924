"""What happens in one step of training the alignment."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.training.objectives.alignment import ContrastiveBatch, ContrastiveObjective
from avdetect.training.objectives.relevance import relevance_loss
from avdetect.training.text.batches import AlignmentBatch
from avdetect.training.text.config import TextRecipe

__all__ = ["AlignmentModule"]

_WARM_UP_SHARE = 0.1


class AlignmentModule(lightning.LightningModule):
    """The network with its losses.

    Args:
        recipe: weights and rates.
        config: of the network.
        mean: of the training snippets' audio embeddings, float ``[audio_dim]``.
        std: likewise.
        objective: draws tracks and their texts together.
    """

    def __init__(
        self,
        recipe: TextRecipe,
        config: AlignmentConfig,
        mean: Tensor,
        std: Tensor,
        objective: ContrastiveObjective,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = AlignmentNet(config)
        self.network.audio.input.set_statistics(mean, std)
        self._objective = objective

    def training_step(self, batch: AlignmentBatch) -> Tensor:
        """Tracks against texts, and snippets against phrases."""
        network, recipe = self.network, self.recipe
        sound = network.audio(batch.audio, batch.present)
        text = network.text(batch.phrases, batch.places, batch.told)
        scores = network.scores(sound, text).fused
        views = {"audio": sound.whole(), "text": text.whole}
        contrast = self._objective(ContrastiveBatch(views, {("audio", "text"): scores}))
        logits = network.relevance_logits(sound, network.text.phrase_vectors(batch.queries))
        relevance = relevance_loss(logits, batch.heard, batch.counted, negative_weight=recipe.negative_weight)
        self.log("contrast", contrast)
        self.log("relevance", relevance)
        return contrast + recipe.relevance_weight * relevance

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises and falls once in each stage."""
        recipe = self.recipe
        scales = [parameter for parameter in self.parameters() if parameter.ndim == 0]
        weights = [parameter for parameter in self.parameters() if parameter.ndim > 0]
        groups = [
            {"params": weights, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
            {"params": scales, "lr": recipe.scale_learning_rate, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_share(self, step: int) -> float:
        """Of the highest learning rate: it rises for a tenth of a stage, and falls on a cosine."""
        in_b = step >= self.recipe.stage_a_steps
        done = step - self.recipe.stage_a_steps if in_b else step
        progress = (done + 1) / max(self.recipe.stage_b_steps if in_b else self.recipe.stage_a_steps, 1)
        if progress < _WARM_UP_SHARE:
            return progress / _WARM_UP_SHARE
        return (1 + math.cos(math.pi * min((progress - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE), 1))) / 2
