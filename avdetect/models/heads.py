"""Instance logits, and their pooling over a bag."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Fusion", "InstanceHead", "InstanceOutputs", "Picks", "either", "instance_mask", "pick", "topk_mean"]


class InstanceOutputs(NamedTuple):
    """The outputs of a two-stream network for every snippet: ``[B, T, C]`` for logits, ``[B, T, H]`` for the rest."""

    logits: Tensor
    """Fused."""
    audio_logits: Tensor
    """Logits of the audio stream alone."""
    visual_logits: Tensor
    """Logits of the visual stream alone."""
    audio_representation: Tensor
    """The classifier's input from the audio stream."""
    visual_representation: Tensor
    """The classifier's input from the visual stream."""

    @property
    def embedding(self) -> Tensor:
        """The sum of the streams' representations, ``[B, T, H]``."""
        return self.audio_representation + self.visual_representation


Fusion = Literal["sum", "either"]
"""``sum``: evidence adds up, so that one stream can veto the other. ``either``: each stream is heard on its own, and an
event is there when one says so."""

# The logit of a stream that is not there: a probability of 0, and finite.
_IMPOSSIBLE = -1e4


class InstanceHead(nn.Module):
    """One linear classifier for all streams, and how what they say becomes one logit.

    ``logit[m] = prior + w . x[m]``, and with p the sigmoid of a logit::

        sum:     fused logit = prior + sum over m of w . x[m]
        either:  1 - p(fused) = product over m of 1 - p(logit[m])

    A stream that is absent comes as zeros: its own logit is the prior, and it takes no part in the fused one. Of a
    class that it cannot tell, a stream says "impossible", and takes no part in the fused logit either.

    Args:
        hidden_dim: H.
        num_classes: C.
        fusion: see ``Fusion``.
        tells: bool ``[M, C]``: which classes each stream can tell; None for all.
    """

    tells: Tensor | None

    def __init__(
        self, *, hidden_dim: int, num_classes: int, fusion: Fusion = "sum", tells: Tensor | None = None
    ) -> None:
        super().__init__()
        self._fusion = fusion
        self.register_buffer("tells", tells, persistent=False)
        self.classifier = nn.Linear(hidden_dim, num_classes, bias=False)
        self.prior = nn.Parameter(torch.zeros(num_classes))

    def forward(self, streams: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Streams ``[B, M, T, H]`` and bool ``[B, M, T]`` -> logits ``[B, T, C]`` and ``[B, M, T, C]``."""
        evidence = self.classifier(streams)
        logits = self.prior + evidence
        if self.tells is not None:
            dumb = ~self.tells[:, None]
            evidence, logits = evidence.masked_fill(dumb, 0), logits.masked_fill(dumb, _IMPOSSIBLE)
        if self._fusion == "sum":
            return self.prior + evidence.sum(1), logits
        return either(logits, present), logits


def either(logits: Tensor, present: Tensor) -> Tensor:
    """The logit of an event being there when one stream says so: ``1 - p = product over m of 1 - p[m]``.

    Args:
        logits: of every stream, float ``[B, M, T, C]``.
        present: bool ``[B, M, T]``; absent streams say nothing.
    """
    said = logits.masked_fill(~present[..., None], _IMPOSSIBLE)
    fused = said[:, 0]
    for other in said.unbind(1)[1:]:
        # (1 + e^a)(1 + e^b) - 1, in logarithms.
        fused = torch.stack((fused, other, fused + other)).logsumexp(0)
    return fused


class Picks(NamedTuple):
    """Some instances of every bag, for each class."""

    values: Tensor
    """``[B, K, C]``; anything where ``picked`` is false."""
    indices: Tensor
    """int64 ``[B, K, C]``, along the instances."""
    picked: Tensor
    """bool ``[B, K, 1]``: the first ``n // instances_per_pick + 1`` of a bag with n > 0 instances, none without."""


def instance_mask(num_instances: Tensor, size: int) -> Tensor:
    """Mark which of ``size`` rows are instances: int64 ``[B]`` -> bool ``[B, size]``."""
    return torch.arange(size, device=num_instances.device) < num_instances[:, None]


def pick(values: Tensor, valid: Tensor, *, instances_per_pick: int = 16, lowest: bool = False) -> Picks:
    """The highest (or lowest) instances of every bag and class, best first.

    Args:
        values: float ``[B, T, C]``.
        valid: bool ``[B, T]``; the others are not instances.
        instances_per_pick: one is picked for each so many instances, and one more.
        lowest: pick the lowest instead.
    """
    size = values.shape[1] // instances_per_pick + 1
    worst = torch.inf if lowest else -torch.inf
    top = values.masked_fill(~valid[..., None], worst).topk(size, dim=1, largest=not lowest)
    num_valid = valid.sum(1)
    num_picks = torch.where(num_valid > 0, num_valid // instances_per_pick + 1, 0)
    return Picks(top.values, top.indices, instance_mask(num_picks, size)[..., None])


def topk_mean(values: Tensor, num_instances: Tensor, *, instances_per_pick: int = 16) -> Tensor:
    """The mean of each bag's ``n // instances_per_pick + 1`` highest values, for each class.

    After MACIL-SD (arXiv 2207.05500, section 3.3) and the multiple-instance literature before it.

    Args:
        values: logits or probabilities ``[B, T, C]``.
        num_instances: n, int64 ``[B]``, at least 1; rows beyond are padding.
        instances_per_pick: how many instances there are to one that counts.

    Returns:
        ``[B, C]``.
    """
    top = pick(values, instance_mask(num_instances, values.shape[1]), instances_per_pick=instances_per_pick)
    return top.values.masked_fill(~top.picked, 0).sum(1) / top.picked.sum(1)
