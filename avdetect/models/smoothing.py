"""Smoothing along time: each feature is filtered over a few snippets around it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.manifest import StateSpec
from avdetect.models.window import Window, slide

__all__ = ["LocalSmoothing"]


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
        """What ``forward_stream`` keeps between calls."""
        size = self._left + self._right
        return (StateSpec(name="smoothing", shape=(num_streams, size, self.weight.shape[0])),) if size else ()

    def _filter(self, streams: Tensor) -> Tensor:
        """``[B, M, left + T + right, H]`` -> ``[B, M, T, H]``."""
        taps = self.weight[..., self._first_tap : self._first_tap + self._left + 1 + self._right]
        # Depthwise along the last axis of [B, H, M, time].
        return functional.conv2d(streams.movedim(3, 1), taps, groups=taps.shape[0]).movedim(1, 3)
