"""Windows: the snippets around ``t`` that a layer sees, and what a stream has to keep of the past for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.manifest import StateSpec

__all__ = ["LocalSmoothing", "Window", "slide"]


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
        """Tell whether the snippets ``t + offsets`` are seen from ``t``: int64, any shape -> bool, the same shape."""
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


class LocalSmoothing(nn.Module):
    """Residual depthwise convolution: ``y[t] = x[t] + sum over o of w[o] * x[t + o]``, o in the window.

    Both streams share ``w``, which starts at zero. Absent snippets must come as zeros, and then count for nothing.

    Args:
        hidden_dim: H.
        reach: ``w`` has weights for the offsets ``[-reach, reach]``, whatever the window.
        window: which of these offsets are used.
    """

    def __init__(self, *, hidden_dim: int, reach: int, window: Window) -> None:
        super().__init__()
        self.window = window
        self._left, self._right = window.bounds()
        if max(self._left, self._right) > reach:
            raise ValueError(f"the window {window} is wider than the weights, which reach {reach} snippets.")
        self._first_tap = reach - self._left
        self.weight = nn.Parameter(torch.zeros(hidden_dim, 1, 1, 2 * reach + 1))

    def forward(self, streams: Tensor) -> Tensor:
        """The whole bag at once: float ``[B, M, T, H]`` -> the same shape."""
        padded = functional.pad(streams, (0, 0, self._left, self._right))
        return streams + self._filter(padded)

    def forward_stream(self, streams: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next T snippets ``[B, M, T, H]``; row ``k`` of the result is for snippet ``k - right`` of the stream."""
        joined, kept = slide(state.get("smoothing"), streams, keep=self._left + self._right)
        due = joined[:, :, self._left : -self._right] if self._right else joined[:, :, self._left :]
        return due + self._filter(joined), {} if kept is None else {"smoothing": kept}

    def state_specs(self, num_streams: int) -> tuple[StateSpec, ...]:
        """Describe the tensors that ``forward_stream`` keeps between calls."""
        size = self._left + self._right
        return (StateSpec(name="smoothing", shape=(num_streams, size, self.weight.shape[0])),) if size else ()

    def _filter(self, streams: Tensor) -> Tensor:
        """``[B, M, left + T + right, H]`` -> ``[B, M, T, H]``."""
        taps = self.weight[..., self._first_tap : self._first_tap + self._left + 1 + self._right]
        # Depthwise along the last axis of [B, H, M, time].
        return functional.conv2d(streams.movedim(3, 1), taps, groups=taps.shape[0]).movedim(1, 3)
