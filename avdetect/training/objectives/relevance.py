"""Where a phrase is heard: every snippet of a batch against every phrase of it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["relevance_loss"]


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
