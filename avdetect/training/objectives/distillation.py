"""Learning from another network: the weights of a visual-only partner, or the scores of a teacher."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["distillation_loss", "mix_weights", "mixing_momentum"]


def mixing_momentum(epoch: int, *, num_epochs: int = 50, start: float = 0.91) -> float:
    """Share of its own weights that the network keeps after epoch 0, 1, ...: rises from ``start`` to 1 on a cosine.

    ``m = 1 - (1 - start) (1 + cos(pi * epoch / num_epochs)) / 2``: MACIL-SD (arXiv 2207.05500, equation 12) and its
    code. 1 from ``num_epochs`` on.
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * min(epoch, num_epochs) / num_epochs)) / 2


@torch.no_grad()
def mix_weights(network: nn.Module, partner: nn.Module, momentum: float, *, only: str = "") -> None:
    """``w <- m w + (1 - m) v`` for each of the network's parameters w that the partner has as v, by name.

    Args:
        network: changed in place.
        partner: trained on one modality; what it lacks stays as it is.
        momentum: m.
        only: of the parameters whose names begin like this.

    Raises:
        ValueError: the two have no parameter in common, or one of different shapes.
    """
    mine, theirs = dict(network.named_parameters()), dict(partner.named_parameters())
    shared = {name for name in mine.keys() & theirs.keys() if name.startswith(only)}
    if not shared:
        raise ValueError("network and partner have no parameter in common.")
    for name in shared:
        if mine[name].shape != theirs[name].shape:
            raise ValueError(f"{name}: the network's shape is {mine[name].shape}, the partner's {theirs[name].shape}.")
        mine[name].lerp_(theirs[name], 1 - momentum)


def distillation_loss(student: Tensor, teacher: Tensor, valid: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Distance of the student's probabilities from the teacher's, over the valid instances of the batch::

        L = t^2 * mean over valid (b, t), c of KL(p || q),   p = sigmoid(teacher / t),   q = sigmoid(student / t)

    with the KL divergence between two coins, ``p log(p/q) + (1-p) log((1-p)/(1-q))``: Hinton et al., *Distilling the
    Knowledge in a Neural Network* (arXiv 1503.02531), each class on its own. The factor keeps the gradient's size.

    Args:
        student: logits ``[B, T, C]``.
        teacher: logits ``[B, T, C]``; no gradient goes into them.
        valid: bool ``[B, T]``.
        temperature: t; above 1 it brings out what the teacher thinks of the improbable.

    Returns:
        A scalar; 0 when nothing is valid.
    """
    target = teacher.detach() / temperature
    p = target.sigmoid()
    # log p and log (1 - p) without rounding to 0: logsigmoid of the logit and of its negative.
    entropy = -(p * functional.logsigmoid(target) + (1 - p) * functional.logsigmoid(-target))
    cross_entropy = functional.binary_cross_entropy_with_logits(student / temperature, p, reduction="none")
    divergence = torch.where(valid[..., None], cross_entropy - entropy, 0)
    return temperature**2 * divergence.sum() / (valid.sum() * student.shape[-1]).clamp(min=1)
