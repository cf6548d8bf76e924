"""Modality-aware contrastive learning between the instances of semi-bags."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from avdetect.models.heads import InstanceOutputs, instance_mask, pick, topk_mean
from avdetect.training.objectives.bag import bag_loss

__all__ = [
    "ContrastiveLosses",
    "MacilSdLosses",
    "Modality",
    "contrast_weight",
    "contrastive_losses",
    "macil_sd_losses",
    "macil_sd_partner_loss",
]


class Modality(NamedTuple):
    """One modality's outputs for the instances of a batch."""

    scores: Tensor
    """Float ``[B, T, C]``, logits or probabilities: only their order counts, and no gradient goes through it."""
    representations: Tensor
    """Float ``[B, T, H]``."""
    valid: Tensor
    """Bool ``[B, T]``: neither padding nor absent."""


class ContrastiveLosses(NamedTuple):
    """The four terms: which modality asks, and what the other modality's positive is told from."""

    audio_background: Tensor
    audio_normal: Tensor
    visual_background: Tensor
    visual_normal: Tensor


def contrast_weight(epoch: int, *, step: float = 0.1, maximum: float = 1.5) -> float:
    """The weight of the terms in epoch 0, 1, ...: ``min(maximum, step * epoch)``, as MACIL-SD's code has it."""
    return min(maximum, step * epoch)


def contrastive_losses(
    audio: Modality, visual: Modality, positive: Tensor, *, temperature: float = 0.1, instances_per_pick: int = 16
) -> ContrastiveLosses:
    """InfoNCE between what is heard and what is seen of the same event, against what is none.

    For class ``c``, bag ``i`` and modality ``m``, with ``k = n // instances_per_pick + 1`` of the bag's n valid
    instances, each ranked by the modality's own score for the class:

    - violent semi-bag ``v_i``, of a positive bag: the mean of its k highest representations;
    - normal instances, of every other bag: its k highest;
    - background instances, of every bag: its k lowest.

    For modalities q and r, N the background or the normal instances of *r* in the whole batch, and cos the cosine::

        L = sum over i of  k_i l_i  /  sum over i of k_i
        l_i = -log( e^(cos(v_i^q, v_i^r) / t) / (e^(cos(v_i^q, v_i^r) / t) + sum over n in N of e^(cos(v_i^q, n) / t)) )

    The mean goes over the positive bags, of the classes that have positive and other bags in the batch, in which both
    modalities have valid instances. Without any of these the losses are 0.

    Source: MACIL-SD (arXiv 2207.05500, section 3.3) and its code, for one class. With several, a bag that has another
    class is a normal one for class ``c``.

    Args:
        audio: what is heard.
        visual: what is seen.
        positive: bool ``[B, C]``, which bags have which classes.
        temperature: t.
        instances_per_pick: how many instances there are to one that is picked.
    """
    heard = _semi_bags(audio, instances_per_pick)
    seen = _semi_bags(visual, instances_per_pick)
    mixed_classes = positive.any(0) & ~positive.all(0)
    contrasted = positive & mixed_classes & (heard.num_picks > 0) & (seen.num_picks > 0)

    def loss(query: _SemiBags, other: _SemiBags, negatives: Tensor, usable: Tensor) -> Tensor:
        losses = _info_nce(query.violent, other.violent, negatives, other.picked & usable, temperature)
        weights = contrasted * query.num_picks
        return (losses * weights).sum() / weights.sum().clamp(min=1)

    normal = ~positive[:, None]
    every = torch.ones_like(normal)
    return ContrastiveLosses(
        audio_background=loss(heard, seen, seen.lowest, every),
        audio_normal=loss(heard, seen, seen.highest, normal),
        visual_background=loss(seen, heard, heard.lowest, every),
        visual_normal=loss(seen, heard, heard.highest, normal),
    )


class _SemiBags(NamedTuple):
    """The picked instances of one modality, K at most for each bag and class; representations of unit length."""

    violent: Tensor
    """``[B, C, H]``: the direction of the highest ones' mean; meant for positive bags."""
    highest: Tensor
    """``[B, K, C, H]``."""
    lowest: Tensor
    """``[B, K, C, H]``."""
    picked: Tensor
    """Bool ``[B, K, 1]``: the others are there for the shape only."""
    num_picks: Tensor
    """int64 ``[B, 1]``."""


def _semi_bags(modality: Modality, instances_per_pick: int) -> _SemiBags:
    scores = modality.scores.detach()
    top = pick(scores, modality.valid, instances_per_pick=instances_per_pick)
    bottom = pick(scores, modality.valid, instances_per_pick=instances_per_pick, lowest=True)
    highest, lowest = (_gather(modality.representations, picks.indices) for picks in (top, bottom))
    # The sum has the direction of the mean.
    violent = highest.masked_fill(~top.picked[..., None], 0).sum(1)
    return _SemiBags(
        violent=functional.normalize(violent, dim=-1),
        highest=functional.normalize(highest, dim=-1),
        lowest=functional.normalize(lowest, dim=-1),
        picked=top.picked,
        num_picks=top.picked.sum(1),
    )


def _gather(representations: Tensor, indices: Tensor) -> Tensor:
    """``[B, T, H]`` at int64 ``[B, K, C]`` -> ``[B, K, C, H]``."""
    num_bags, num_snippets, width = representations.shape
    first_rows = torch.arange(0, num_bags * num_snippets, num_snippets, device=indices.device)
    # As an embedding: its gradient is summed in parallel, that of gather is not.
    return functional.embedding(indices + first_rows[:, None, None], representations.reshape(-1, width))


def _info_nce(query: Tensor, positive: Tensor, negatives: Tensor, usable: Tensor, temperature: float) -> Tensor:
    """InfoNCE of every query, against the usable negatives of all bags.

    Args:
        query: unit vectors ``[B, C, H]``.
        positive: the unit vector each is to be close to, ``[B, C, H]``.
        negatives: unit vectors ``[B, K, C, H]``.
        usable: bool ``[B, K, C]``.
        temperature: divides the cosines.

    Returns:
        ``[B, C]``.
    """
    close = (query * positive).sum(-1) / temperature
    far = torch.einsum("bch,nkch->bcnk", query, negatives) / temperature
    far = far.masked_fill(~usable.transpose(1, 2).transpose(0, 1), -torch.inf).flatten(2)
    return torch.cat((close[..., None], far), -1).logsumexp(-1) - close


class MacilSdLosses(NamedTuple):
    """The losses of one batch."""

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
