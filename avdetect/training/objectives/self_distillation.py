"""Self-distillation: the weights of a visual-only partner, trained beside the network, are mixed into it."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["mix_weights", "mixing_momentum"]


def mixing_momentum(epoch: int, *, num_epochs: int = 50, start: float = 0.91) -> float:
    """How much of its own weights the network keeps after epoch 0, 1, ...: rises from ``start`` to 1 on a cosine.

    ``m = 1 - (1 - start) (1 + cos(pi * epoch / num_epochs)) / 2``: MACIL-SD (arXiv 2207.05500, equation 12) and its
    code. 1 from ``num_epochs`` on.
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * min(epoch, num_epochs) / num_epochs)) / 2


@torch.no_grad()
def mix_weights(network: nn.Module, partner: nn.Module, momentum: float) -> None:
    """``w <- m w + (1 - m) v`` for each of the network's parameters w that the partner has as v, by name.

    Args:
        network: changed in place.
        partner: trained on one modality; what it lacks stays as it is.
        momentum: m.

    Raises:
        ValueError: the two have no parameter in common, or one of different shapes.
    """
    mine, theirs = dict(network.named_parameters()), dict(partner.named_parameters())
    shared = mine.keys() & theirs.keys()
    if not shared:
        raise ValueError("network and partner have no parameter in common.")
    for name in shared:
        if mine[name].shape != theirs[name].shape:
            raise ValueError(f"{name}: the network's shape is {mine[name].shape}, the partner's {theirs[name].shape}.")
        mine[name].lerp_(theirs[name], 1 - momentum)
