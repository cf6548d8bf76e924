"""The losses of MACIL-SD as published: the reference that the product's own recipe is measured against."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from avdetect.models.heads import InstanceOutputs, instance_mask, topk_mean
from avdetect.training.objectives.bag import bag_loss
from avdetect.training.objectives.contrastive import ContrastiveLosses, Modality, contrastive_losses

__all__ = ["MacilSdLosses", "macil_sd_losses", "macil_sd_partner_loss"]


class MacilSdLosses(NamedTuple):
    """Of one batch."""

    bag: Tensor
    contrast: ContrastiveLosses

    def total(self, contrast_weight: float) -> Tensor:
        """``bag + contrast_weight * (the four terms)``; see ``contrastive.contrast_weight``."""
        return self.bag + contrast_weight * sum(self.contrast)


def macil_sd_losses(
    outputs: InstanceOutputs, labels: Tensor, num_instances: Tensor, *, crossed: bool = True
) -> MacilSdLosses:
    """Bag loss and contrastive losses, chosen as the published code chooses.

    A bag counts as violent when its *predicted* score is over one half, whatever its label, and with ``crossed`` the
    audio scores select among the *visual* representations and the other way round: the published network returns
    ``(visual, audio)`` where its training loop reads ``(audio, visual)``.

    Args:
        outputs: of ``MacilSdNet``.
        labels: float ``[B, C]``.
        num_instances: int64 ``[B]``; rows beyond are zero padding, up to the longest bag of the batch.
        crossed: False pairs scores and representations of the same modality instead.
    """
    bag_logits = topk_mean(outputs.logits, num_instances)
    valid = instance_mask(num_instances, outputs.logits.shape[1])
    representations = outputs.audio_representation, outputs.visual_representation
    first, second = reversed(representations) if crossed else representations
    contrast = contrastive_losses(
        Modality(outputs.audio_logits, first, valid), Modality(outputs.visual_logits, second, valid), bag_logits > 0
    )
    return MacilSdLosses(bag_loss(bag_logits, labels), contrast)


def macil_sd_partner_loss(logits: Tensor, labels: Tensor, num_instances: Tensor) -> Tensor:
    """The bag loss of ``MacilSdPartner``'s logits ``[B, T, C]``."""
    return bag_loss(topk_mean(logits, num_instances), labels)
