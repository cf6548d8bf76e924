"""Which snippets around ``t`` a layer sees, and what a stream has to keep of the past for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Window", "slide"]


@dataclass(frozen=True, slots=True)
class Window:
    """The snippets ``[t - left, t + right]``; ``None`` is without bound."""

    left: int | None
    right: int | None

    def __post_init__(self) -> None:
        for name, reach in (("left", self.left), ("right", self.right)):
            if reach is not None and reach < 0:
                raise ValueError(f"{name} must not be negative, got {reach}.")

    def bounds(self) -> tuple[int, int]:
        """``(left, right)`` of a bounded window.

        Raises:
            ValueError: it is not bounded, so that no stream can keep what it needs.
        """
        if self.left is None or self.right is None:
            raise ValueError("a window without bound on both sides has no streaming form.")
        return self.left, self.right

    def contains(self, offsets: Tensor) -> Tensor:
        """Whether the snippets ``t + offsets`` are seen from ``t``: int64, any shape -> bool, the same shape."""
        inside = torch.ones_like(offsets, dtype=torch.bool)
        if self.left is not None:
            inside = inside & (offsets >= -self.left)
        if self.right is not None:
            inside = inside & (offsets <= self.right)
        return inside

    def minus(self, other: Window) -> Window:
        """The window a layer may have so that, with ``other`` after it, both together see this one."""
        return Window(
            None if self.left is None else self.left - (other.left or 0),
            None if self.right is None else self.right - (other.right or 0),
        )


def slide(past: Tensor | None, new: Tensor, *, keep: int) -> tuple[Tensor, Tensor | None]:
    """Append what is new to what was kept, and say what to keep for the next call.

    Args:
        past: ``[B, M, keep, ...]``, what this function last said to keep; None where ``keep`` is 0.
        new: ``[B, M, T, ...]``, what follows it.
        keep: how many snippets to keep.

    Returns:
        Both joined, and the last ``keep`` of that.
    """
    if past is None:
        return new, None
    joined = torch.cat((past, new), 2)
    # A slice from the end needs no length, so that the exported graph has none to compute.
    return joined, joined[:, :, -keep:]
