"""Distillation of a teacher that sees the whole bag into a student that sees a window of it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["distillation_loss"]


def distillation_loss(student: Tensor, teacher: Tensor, valid: Tensor, *, temperature: float = 1.0) -> Tensor:
    """How far the student's probabilities are from the teacher's, over the valid instances of the batch::

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
