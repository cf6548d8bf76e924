"""The losses of sound and text: which track goes with which text, and where in a track each phrase is heard.

The first is contrastive learning between views of the same thing.
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

__all__ = ["ContrastiveBatch", "ContrastiveObjective", "SymmetricInfoNCE", "relevance_loss"]


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveBatch:
    """B examples, each seen in several views."""

    views: Mapping[str, Tensor]
    """Unit vectors by name, ``[B, D]`` each; row ``i`` of all of them is the same example."""
    logits: Mapping[tuple[str, str], Tensor] = field(default_factory=dict)
    """Logits of pairs of views that are compared by more than their vectors: ``[B, B]``, rows for the first view's
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
        """Compute the loss of at least two views and one example; see the class."""
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


def relevance_loss(logits: Tensor, heard: Tensor, counted: Tensor, *, negative_weight: float = 8.0) -> Tensor:
    """Binary cross-entropy, balanced: with ``l`` the logits, P the snippets where a phrase is heard and Q those where
    not::

        mean over P of  log(1 + e^-l)  +  negative_weight * mean over Q of  log(1 + e^l)

    Phrases are rare, so without the balance nothing would be heard. ``negative_weight`` is what the odds are set to:
    sigmoid(l) is a probability where a phrase is heard in one of ``1 + negative_weight`` snippets.

    The sigmoid form of a contrastive loss: SigLIP (arXiv 2303.15343), here for snippets.

    Args:
        logits: float, any shape.
        heard: bool, the same shape.
        counted: bool, the same shape; the others are padding, or cannot be told.
        negative_weight: see above.

    Returns:
        A scalar; a part without snippets is 0.
    """
    positive = (heard & counted).float()
    negative = (~heard & counted).float()
    missed = (functional.softplus(-logits) * positive).sum() / positive.sum().clamp(min=1)
    false = (functional.softplus(logits) * negative).sum() / negative.sum().clamp(min=1)
    return missed + negative_weight * false
