"""The steps of training: one LightningModule for each recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.labels.videos import LabelledVideo
from avdetect.models.heads import InstanceOutputs, instance_mask, topk_mean
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet, MacilSdPartner
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet, VisualPartner
from avdetect.training.config import MacilSdRecipe, ProductRecipe
from avdetect.training.data import BagBatch, FeatureStatistics
from avdetect.training.objectives.bag import bag_loss, positive_weights, snippet_loss
from avdetect.training.objectives.contrastive import (
    Modality,
    contrast_weight,
    contrastive_losses,
    macil_sd_losses,
    macil_sd_partner_loss,
)
from avdetect.training.objectives.distillation import distillation_loss, mix_weights, mixing_momentum
from avdetect.training.progress import ValidationScores

__all__ = ["BagModule", "MacilSdModule", "ProductModule"]

_CERTAIN = 1e3
"""Added to the score of a snippet that is known to hold an event, taken off one that is known to hold none."""
_CONTRAST_RAMP = 1.5  # the height that ``contrast_weight`` reaches


class BagModule(lightning.LightningModule):
    """Validation, which is the same for every network: frame AP where spans are known, bag AP always."""

    network: TwoStreamNet | MacilSdNet
    recipe: ProductRecipe | MacilSdRecipe

    def __init__(self) -> None:
        super().__init__()
        self._held_out: ValidationScores | None = None
        self._new_scores: Any = None

    def validate_on(self, records: Sequence[LabelledVideo], labels: Tensor, *, hop_s: float) -> None:
        """Say what the batches of validation are: ``labels`` float ``[records, C]``."""
        positive = labels.numpy() > 0.5
        self._new_scores = lambda: ValidationScores(records, positive, hop_s=hop_s)

    def outputs(self, batch: BagBatch) -> InstanceOutputs:
        """Compute the network's outputs for a batch."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the recipe: training can only go on with the same one."""
        checkpoint["recipe"] = self.recipe.model_dump()

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the last epoch."""
        self._held_out = self._new_scores()

    def validation_step(self, batch: BagBatch) -> None:
        """Gather scores."""
        assert self._held_out is not None
        logits = self.outputs(batch).logits.float()
        bags = topk_mean(logits, batch.num_instances).sigmoid().cpu().numpy()
        for row, (video, length) in enumerate(zip(batch.videos.tolist(), batch.num_instances.tolist(), strict=True)):
            self._held_out.add(video, logits[row, :length].sigmoid().cpu().numpy(), bags[row])

    def on_validation_epoch_end(self) -> None:
        """Log what they are worth: every process has seen all of them, so their mean is what each found."""
        assert self._held_out is not None
        for name, value in self._held_out.metrics()._asdict().items():
            if not math.isnan(value):
                self.log(f"val_{name}", value, sync_dist=True)

    def _log_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Log the mean over the epoch's steps, and over the processes."""
        self.log_dict(dict(losses), on_step=False, on_epoch=True, sync_dist=True)


class ProductModule(BagModule):
    """The product's recipe.

    Args:
        recipe: its numbers.
        config: of the network.
        labels: of all training bags, float ``[bags, C]``.
        moments: of all training snippets.
        used_visual: bool ``[Dv]``: which numbers of the visual embedding to look at.
        teacher: a trained network to learn from; None for labels alone.
    """

    network: TwoStreamNet
    recipe: ProductRecipe
    positive_weight: Tensor

    def __init__(
        self,
        recipe: ProductRecipe,
        config: TwoStreamConfig,
        labels: Tensor,
        moments: FeatureStatistics,
        used_visual: Tensor,
        teacher: TwoStreamNet | None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = TwoStreamNet(config)
        self.partner = VisualPartner(config) if recipe.self_distillation else None
        for net in (self.network, self.partner):
            if net is not None:
                _prepare(net, moments, used_visual)
        self.projection = (
            nn.Sequential(
                nn.Linear(config.hidden_dim, config.hidden_dim),
                nn.ReLU(),
                nn.Linear(config.hidden_dim, recipe.contrast_dim),
            )
            if recipe.contrast_weight and recipe.contrast_between == "events"
            else None
        )
        # Not a submodule: its weights are neither trained nor saved.
        self._teacher = [teacher] if teacher is not None else []
        tells = torch.ones(2, config.num_classes, dtype=torch.bool) if config.tells is None else config.tells
        self._heard, self._seen = (row.nonzero()[:, 0].tolist() for row in tells)
        self.register_buffer("positive_weight", positive_weights(labels) ** recipe.balance, persistent=False)

    def outputs(self, batch: BagBatch) -> InstanceOutputs:
        """Compute the network's outputs for a batch."""
        outputs: InstanceOutputs = self.network(batch.audio, batch.visual, batch.present, batch.num_instances)
        return outputs

    def training_step(self, batch: BagBatch) -> Tensor:
        """One batch: every loss with its weight."""
        recipe, noisy = self.recipe, self._augment(batch)
        outputs = self.outputs(noisy)
        losses = {
            "fused": (recipe.fused_weight, self._bag_loss(outputs.logits, noisy)),
            "audio": (recipe.modality_weight, self._bag_loss(outputs.audio_logits, noisy, self._heard)),
            "visual": (recipe.modality_weight, self._bag_loss(outputs.visual_logits, noisy, self._seen)),
        }
        if recipe.snippet_weight:
            losses["snippets"] = (recipe.snippet_weight, self._snippet_loss(outputs, noisy))
        if recipe.contrast_weight:
            ramp = contrast_weight(self.current_epoch) / _CONTRAST_RAMP
            losses["contrast"] = (recipe.contrast_weight * ramp, self._contrast(outputs, noisy))
        if self.partner is not None:
            logits = self.partner(noisy.visual, noisy.present[..., 1], noisy.num_instances)
            losses["partner"] = (1.0, self._bag_loss(logits, noisy, self._seen))
        for teacher in self._teacher:
            losses["teacher"] = (
                recipe.distillation_weight,
                self._distillation(outputs, batch, teacher.to(self.device)),
            )
        total = torch.stack([weight * loss for weight, loss in losses.values()]).sum()
        self._log_losses({"loss": total} | {f"loss_{name}": loss for name, (_, loss) in losses.items()})
        return total

    def on_train_epoch_end(self) -> None:
        """Mix the partner's weights in."""
        if self.partner is not None:
            momentum = mixing_momentum(self.current_epoch, num_epochs=self.recipe.epochs)
            only = "visual_input." if self.recipe.self_distillation == "stream" else ""
            mix_weights(self.network, self.partner, momentum, only=only)

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises and falls once."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.recipe.learning_rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _augment(self, batch: BagBatch) -> BagBatch:
        """Noise on the embeddings, some of their numbers replaced by the mean, and bags with one modality only."""
        recipe, network = self.recipe, self.network
        audio = _disturb(batch.audio, network.audio_input, recipe.noise, recipe.audio_dropout)
        visual = _disturb(batch.visual, network.visual_input, recipe.noise, recipe.visual_dropout)
        draw = torch.rand(len(audio), 1, device=self.device)
        lost = torch.stack((draw < recipe.modality_dropout, draw > 1 - recipe.modality_dropout), -1)
        # A bag that has one modality only keeps it.
        both = batch.present.any(1, keepdim=True).all(-1, keepdim=True)
        return batch._replace(audio=audio, visual=visual, present=batch.present & ~(lost & both))

    def _bag_loss(self, logits: Tensor, batch: BagBatch, told: Sequence[int] | None = None) -> Tensor:
        """Average over the classes that the logits tell, all by default; in others they make no mistake."""
        classes = list(range(logits.shape[-1]) if told is None else told)
        if not classes:
            return logits.new_zeros(())
        bags = topk_mean(logits[..., classes], batch.num_instances, instances_per_pick=self.recipe.instances_per_pick)
        loss = bag_loss(bags, batch.labels[:, classes], positive_weight=self.positive_weight[classes])
        return loss * len(classes) / logits.shape[-1]

    def _snippet_loss(self, outputs: InstanceOutputs, batch: BagBatch) -> Tensor:
        """Add up both streams, each in the classes that it can tell and where it is present."""
        known = batch.known.masked_fill(~batch.present[..., None], -1)
        losses = [
            snippet_loss(logits[..., told], known[:, :, stream, told])
            for stream, (logits, told) in enumerate(
                ((outputs.audio_logits, self._heard), (outputs.visual_logits, self._seen))
            )
            if told
        ]
        return torch.stack(losses).sum()

    def _contrast(self, outputs: InstanceOutputs, batch: BagBatch) -> Tensor:
        valid = batch.present & instance_mask(batch.num_instances, batch.present.shape[1])[..., None]
        if self.projection is not None:
            return self._contrast_of_events(outputs, batch, valid)
        heard = Modality(outputs.audio_logits, outputs.audio_representation, valid[..., 0])
        seen = Modality(outputs.visual_logits, outputs.visual_representation, valid[..., 1])
        losses = contrastive_losses(heard, seen, batch.labels > 0.5, instances_per_pick=self.recipe.instances_per_pick)
        return torch.stack(losses).sum()

    def _contrast_of_events(self, outputs: InstanceOutputs, batch: BagBatch, valid: Tensor) -> Tensor:
        """Contrast any event that is heard with any that is seen, picked where they are known to be."""
        assert self.projection is not None
        modalities, holds = [], []
        for stream, (logits, representation, told) in enumerate(
            (
                (outputs.audio_logits, outputs.audio_representation, self._heard),
                (outputs.visual_logits, outputs.visual_representation, self._seen),
            )
        ):
            known = batch.known[:, :, stream, told]
            surely = torch.where((known >= 0).all(-1), known.amax(-1) * 2 - 1, 0)
            scores = logits[..., told].amax(-1).detach() + _CERTAIN * surely
            modalities.append(Modality(scores[..., None], self.projection(representation), valid[..., stream]))
            # A bag in which it is known what happens when; of others the labels have to do.
            possible = batch.labels[:, told].amax(-1) > 0
            holds.append(torch.where((known >= 0).all(-1).any(1), (known > 0).any(-1).any(1), possible))
        positive = (holds[0] & holds[1])[:, None]
        losses = contrastive_losses(
            modalities[0], modalities[1], positive, instances_per_pick=self.recipe.instances_per_pick
        )
        return torch.stack(losses).sum()

    def _distillation(self, outputs: InstanceOutputs, batch: BagBatch, teacher: TwoStreamNet) -> Tensor:
        with torch.no_grad():
            target = teacher(batch.audio, batch.visual, batch.present, batch.num_instances)
        valid = instance_mask(batch.num_instances, batch.present.shape[1])
        # The first three are the logits: fused, and of each modality.
        pairs = zip(outputs[:3], target[:3], strict=True)
        return torch.stack([distillation_loss(mine, theirs, valid) for mine, theirs in pairs]).sum()


class MacilSdModule(BagModule):
    """The published recipe. The losses of network and partner share no weight, so one optimizer does for both.

    Args:
        recipe: its numbers.
        config: of the network.
    """

    network: MacilSdNet
    recipe: MacilSdRecipe

    def __init__(self, recipe: MacilSdRecipe, config: MacilSdConfig) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = MacilSdNet(config)
        self.partner = MacilSdPartner(config)

    def outputs(self, batch: BagBatch) -> InstanceOutputs:
        """Compute the network's outputs for a batch."""
        outputs: InstanceOutputs = self.network(batch.audio, batch.visual)
        return outputs

    def training_step(self, batch: BagBatch) -> Tensor:
        """One batch."""
        losses = macil_sd_losses(self.outputs(batch), batch.labels, batch.num_instances, crossed=self.recipe.crossed)
        partner = macil_sd_partner_loss(self.partner(batch.visual), batch.labels, batch.num_instances)
        contrast = torch.stack(losses.contrast).sum()
        total = losses.total(contrast_weight(self.current_epoch)) + partner
        self._log_losses({"loss": total, "loss_bag": losses.bag, "loss_contrast": contrast, "loss_partner": partner})
        return total

    def on_train_epoch_end(self) -> None:
        """Mix the partner's weights in."""
        mix_weights(self.network, self.partner, mixing_momentum(self.current_epoch))

    def configure_optimizers(self) -> Any:
        """Adam for each; the learning rates fall on a cosine, epoch by epoch."""
        optimizer = torch.optim.Adam(
            [
                {"params": self.network.parameters(), "lr": self.recipe.learning_rate},
                {"params": self.partner.parameters(), "lr": self.recipe.partner_learning_rate},
            ]
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.recipe.cosine_epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}


@torch.no_grad()
def _prepare(net: TwoStreamNet | VisualPartner, moments: FeatureStatistics, used_visual: Tensor) -> None:
    """Set where training starts: streams on their own, averaged over a few snippets, and no class at home anywhere."""
    if isinstance(net, TwoStreamNet):
        net.audio_input.set_statistics(moments.audio_mean, moments.audio_std)
    net.visual_input.set_statistics(moments.visual_mean, moments.visual_std)
    net.visual_input.scale.mul_(used_visual)
    # What attention and feed-forward add starts at zero.
    nn.init.zeros_(net.trunk.block.output.weight)
    last = net.trunk.block.feed_forward[3]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    if net.trunk.smoothing is not None:
        weight = net.trunk.smoothing.weight
        taps = weight.shape[-1]
        weight.fill_(1 / taps)
        weight[..., taps // 2] -= 1  # beside the residual


def _disturb(embeddings: Tensor, stream: nn.Module, noise: float, dropout: float) -> Tensor:
    """Noise in standard deviations, then dropout about the mean, of the numbers that are looked at."""
    used = stream.get_buffer("scale").nonzero()[:, 0]
    mean, scale = stream.get_buffer("mean")[used], stream.get_buffer("scale")[used]
    centred = embeddings[..., used] - mean
    if noise:  # drawing it takes as long as the rest of the step
        centred = centred + noise / scale * torch.randn_like(centred)
    centred = functional.dropout(centred, dropout)
    return embeddings.index_copy(-1, used, mean + centred)
