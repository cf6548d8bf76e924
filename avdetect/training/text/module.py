"""What happens in one step of training the alignment."""

from __future__ import annotations

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
        """AdamW, one cycle."""
        recipe = self.recipe
        optimizer = torch.optim.AdamW(self.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            recipe.learning_rate,
            total_steps=recipe.stage_a_steps + recipe.stage_b_steps,
            pct_start=_WARM_UP_SHARE,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
