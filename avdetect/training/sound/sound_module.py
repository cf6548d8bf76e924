"""The encoder on top of which a small network tells what is heard, and what happens in one step of training both."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from avdetect.training.graph_module import GraphModule
from avdetect.training.sound.config import SoundRecipe

__all__ = ["SceneBatch", "SoundHead", "SoundModule", "SoundNet"]


class SceneBatch(NamedTuple):
    """Scenes, each of as many snippets."""

    windows: Tensor
    """Float ``[scenes, snippets, window_samples]``."""
    heard: Tensor
    """1 where a class is heard, float ``[scenes, snippets, classes]``."""
    counted: Tensor
    """0 where it is open whether it is heard, float ``[scenes, snippets, classes]``."""


class SoundHead(nn.Module):
    """Embeddings of snippets in a row -> logits of classes: a projection and two convolutions over time.

    Args:
        embedding_dim: of a snippet.
        num_classes: how many classes.
        recipe: its width and its dropout.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, embedding_dim: int, num_classes: int, recipe: SoundRecipe) -> None:
        super().__init__()
        width = recipe.hidden_dim
        self.register_buffer("mean", torch.zeros(embedding_dim))
        self.register_buffer("std", torch.ones(embedding_dim))
        self.input_dropout = nn.Dropout(recipe.embedding_dropout)
        self.dropout = nn.Dropout(recipe.dropout)
        self.projection = nn.Linear(embedding_dim, width)
        self.near = nn.Conv1d(width, width, 3, padding=1)
        self.wide = nn.Conv1d(width, width, 3, padding=2, dilation=2)
        self.output = nn.Linear(width, num_classes)

    def set_statistics(self, embeddings: Tensor) -> None:
        """Bring all numbers of an embedding to one scale: that of these embeddings, ``[N, embedding_dim]``."""
        self.mean.copy_(embeddings.mean(0))
        self.std.copy_(embeddings.std(0) + 0.05)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits ``[scenes, snippets, classes]`` of embeddings ``[scenes, snippets, embedding_dim]``."""
        scaled = self.input_dropout((embeddings - self.mean) / self.std)
        hidden = torch.relu(self.projection(scaled)).transpose(1, 2)
        for convolution in (self.near, self.wide):
            hidden = hidden + torch.relu(convolution(self.dropout(hidden)))
        logits: Tensor = self.output(self.dropout(hidden.transpose(1, 2)))
        return logits


class SoundNet(nn.Module):
    """Windows of sound -> logits of classes.

    Args:
        encoder: the audio graph of a bundle.
        num_classes: how many classes.
        recipe: what is trained of the encoder, and how the head is made.
        embedding_dim: what the encoder gives.
    """

    def __init__(self, encoder: GraphModule, num_classes: int, recipe: SoundRecipe, embedding_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = SoundHead(embedding_dim, num_classes, recipe)
        self._masked_bands = recipe.masked_bands
        self._in_half = recipe.frozen_in_half
        self._entry = encoder.entry()
        self._cut = encoder.entry(recipe.frozen_layers)
        encoder.freeze_until(self._cut)

    def embed(self, windows: Tensor) -> Tensor:
        """``[N, window_samples]`` -> ``[N, embedding_dim]``; in training some bands of the spectrum are masked."""
        encoder = self.encoder
        with torch.no_grad():  # nothing is trained up to here
            spectra = encoder.evaluate({encoder.input_name: windows}, self._entry)
            if self.training and self._masked_bands:
                spectra = self._mask(spectra)
            with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.training and self._in_half):
                hidden = encoder.evaluate({self._entry: spectra}, self._cut)
        return encoder.evaluate({self._cut: hidden.float()}, encoder.output_name)

    def forward(self, windows: Tensor) -> Tensor:
        """``[scenes, snippets, window_samples]`` -> logits ``[scenes, snippets, classes]``."""
        scenes, snippets = windows.shape[:2]
        logits: Tensor = self.head(self.embed(windows.flatten(0, 1)).reshape(scenes, snippets, -1))
        return logits

    def _mask(self, spectra: Tensor) -> Tensor:
        """Each spectrum ``[..., time, bands]`` with one run of bands at its mean."""
        size = (len(spectra), *(1 for _ in spectra.shape[1:]))
        bands = torch.arange(spectra.shape[-1], device=spectra.device)
        first = torch.randint(0, spectra.shape[-1], size, device=spectra.device)
        width = torch.randint(0, self._masked_bands + 1, size, device=spectra.device)
        mean = spectra.flatten(1).mean(1).reshape(size)
        return torch.where((bands >= first) & (bands < first + width), mean, spectra)


class SoundModule(lightning.LightningModule):
    """The network with its loss and its moving average.

    Args:
        network: what is trained.
        recipe: rates.
    """

    def __init__(self, network: SoundNet, recipe: SoundRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        moving = get_ema_multi_avg_fn(recipe.average_decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=moving)

    def training_step(self, batch: SceneBatch) -> Tensor:
        """What is heard in each snippet, against what was mixed into it."""
        each = functional.binary_cross_entropy_with_logits(self.network(batch.windows), batch.heard, reduction="none")
        loss = (each * batch.counted).sum() / batch.counted.sum().clamp(min=1)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the average."""
        self.average.update_parameters(self.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what is being trained, so that a run with other settings does not go on from it."""
        checkpoint["recipe"] = self.recipe.model_dump(mode="json")

    def configure_optimizers(self) -> Any:
        """AdamW, more slowly for the encoder; the rates rise first and fall on a cosine."""
        recipe = self.recipe
        encoder = [weight for weight in self.network.encoder.parameters() if weight.requires_grad]
        groups = [
            {"params": encoder, "lr": recipe.encoder_learning_rate},
            {"params": list(self.network.head.parameters()), "lr": recipe.head_learning_rate},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_share(self, step: int) -> float:
        """Of the highest learning rate."""
        progress = (step + 1) / self.recipe.steps
        if progress < self.recipe.warm_up_share:
            return progress / self.recipe.warm_up_share
        falling = (progress - self.recipe.warm_up_share) / (1 - self.recipe.warm_up_share)
        return 0.02 + 0.98 * (1 + math.cos(math.pi * min(falling, 1.0))) / 2
