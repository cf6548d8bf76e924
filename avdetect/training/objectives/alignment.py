"""Contrastive learning between views of the same thing: the interface, and symmetric InfoNCE.

A view is one stream's account of every example in a batch: its sound, its text, its pictures. An objective takes the
views of a batch and gives one loss, so that another one can take InfoNCE's place without anything else changing: GRAM
(the volume that the views of an example span), Symile (their multilinear product), CWCL (negatives weighted by how
alike they are within a view) and M3CoL (mixed examples) all compute from what ``ContrastiveBatch`` holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ContrastiveBatch", "ContrastiveObjective", "SymmetricInfoNCE"]


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveBatch:
    """B examples, each seen in several views."""

    views: Mapping[str, Tensor]
    """Unit vectors by name, ``[B, D]`` each; row ``i`` of all of them is the same example."""
    logits: Mapping[tuple[str, str], Tensor] = field(default_factory=dict)
    """Of pairs of views that are compared by more than their vectors: ``[B, B]``, rows for the first view's
    examples."""


class ContrastiveObjective(Protocol):
    """Draws together what belongs together, and apart what does not."""

    def __call__(self, batch: ContrastiveBatch) -> Tensor:
        """The loss, a scalar."""
        ...


@dataclass(frozen=True, slots=True)
class SymmetricInfoNCE:
    """The mean over all pairs of views (x, y) of::

        1/2B sum over i of  -log softmax_j(S_ij)[i] - log softmax_j(S_ji)[i]

    with ``S`` the pair's logits where the batch has them, else ``<x_i, y_j> / temperature``. Every other example of
    the batch is a negative; hard ones, such as a story with two sounds exchanged, are put into the batch as examples
    of their own.

    Source: CLIP (arXiv 2103.00020, figure 3), as in CoLLAP (arXiv 2410.02271).
    """

    temperature: float = 0.07

    def __call__(self, batch: ContrastiveBatch) -> Tensor:
        """See the class; at least two views, at least one example."""
        losses = [self._loss(_logits(batch, pair, self.temperature)) for pair in combinations(sorted(batch.views), 2)]
        return torch.stack(losses).mean()

    @staticmethod
    def _loss(logits: Tensor) -> Tensor:
        same = torch.arange(len(logits), device=logits.device)
        return (functional.cross_entropy(logits, same) + functional.cross_entropy(logits.T, same)) / 2


def _logits(batch: ContrastiveBatch, pair: tuple[str, str], temperature: float) -> Tensor:
    """``[B, B]`` of a pair of views, in alphabetical order."""
    first, second = pair
    if pair in batch.logits:
        return batch.logits[pair]
    if (second, first) in batch.logits:
        return batch.logits[second, first].T
    return batch.views[first] @ batch.views[second].T / temperature
