"""The loss on what is known: which classes a bag has."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["bag_loss", "positive_weights", "snippet_loss"]


def bag_loss(bag_logits: Tensor, labels: Tensor, *, positive_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of every class, on its own::

        L = mean over b, c of  -w_c y_bc log p_bc - (1 - y_bc) log(1 - p_bc),   p = sigmoid(bag_logits)

    MACIL-SD (arXiv 2207.05500, equation 6) for one class and w = 1.

    Args:
        bag_logits: ``[B, C]``, for instance ``topk_mean`` of the instance logits.
        labels: float ``[B, C]``, 1 where the bag has the class; values between are taken as probabilities.
        positive_weight: w, float ``[C]``; 1 where None.
    """
    return functional.binary_cross_entropy_with_logits(bag_logits, labels, pos_weight=positive_weight)


def positive_weights(labels: Tensor, *, maximum: float = 10.0) -> Tensor:
    """Weights that let the bags with a class count as much, all together, as the bags without it.

    ``w_c = (bags without c) / (bags with c)``, held within ``[1 / maximum, maximum]``; 1 for a class no bag has.

    Args:
        labels: of the whole training set, ``[bags, C]``.
        maximum: so that a very rare class does not rule the gradient.

    Returns:
        Float ``[C]``.
    """
    positive = labels.sum(0)
    weights = (len(labels) - positive) / positive.clamp(min=1)
    return torch.where(positive > 0, weights.clamp(1 / maximum, maximum), 1.0)


def snippet_loss(logits: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of the snippets of which it is known what happens in them::

        L = mean over the (b, t, c) with y_btc >= 0 of  -y log p - (1 - y) log(1 - p),   p = sigmoid(logits_btc)

    Zero where nothing is known.

    Args:
        logits: ``[B, T, C]``.
        known: y, float ``[B, T, C]``: 1 where the class is there, 0 where it is not, below 0 where nobody knows.
    """
    counted = known >= 0
    losses = functional.binary_cross_entropy_with_logits(logits, known.clamp(min=0), reduction="none")
    return losses.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)
