"""Masked attention of one modality to the other: offline and streaming, one set of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.manifest import StateSpec
from avdetect.models.window import Window, slide

__all__ = ["CrossModalBlock"]

# Added to the score of what must not be attended to: exp() of it is 0, and it is finite, so that a query with
# nothing to attend to gives no NaN.
_BLOCKED = -1e9


class CrossModalBlock(nn.Module):
    """Pre-norm transformer block in which each stream asks the *other* one; both use the same weights.

    For stream ``m`` with other stream ``o`` (a lone stream is its own other, which makes this self-attention)::

        n = LayerNorm(x)
        y[m] = x[m] + Attention(query=n[m], key=n[o], value=n[o])
        out[m] = y[m] + W2 relu(W1 LayerNorm(y[m]))

    A query attends to the present snippets in its window, with a learned bias per head and offset. Where there are
    none its context is zero, and the snippet goes on as it came.

    After MACIL-SD (arXiv 2207.05500, section 3.2), which has no mask and no positions, and normalises queries only.

    Args:
        hidden_dim: H, a multiple of ``num_heads``.
        num_heads: of the attention.
        feed_forward_dim: width between ``W1`` and ``W2``.
        dropout: probability, on what each of the two sublayers adds.
        window: which snippets a query may attend to.
        position_range: the bias is learned for the offsets ``[-position_range, position_range]``, and shared by the
            offsets beyond; 0 for no bias. The weights' shapes do not depend on the window.
    """

    def __init__(
        self,
        *,
        hidden_dim: int,
        num_heads: int,
        feed_forward_dim: int,
        dropout: float,
        window: Window,
        position_range: int,
    ) -> None:
        super().__init__()
        self.window = window
        self._num_heads = num_heads
        self._hidden_dim = hidden_dim
        self._head_dim = hidden_dim // num_heads
        self._scale = self._head_dim**-0.5
        self._position_range = position_range
        self.attention_norm = nn.LayerNorm(hidden_dim)
        self.query_key_value = nn.Linear(hidden_dim, 3 * hidden_dim)
        # No bias here: a zero context adds nothing.
        self.output = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden_dim),
            nn.Linear(hidden_dim, feed_forward_dim),
            nn.ReLU(),
            nn.Linear(feed_forward_dim, hidden_dim),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)
        num_offsets = 2 * position_range + 1 if position_range else 0
        self.position_bias = nn.Parameter(torch.zeros(num_heads, num_offsets)) if num_offsets else None

    def forward(self, streams: Tensor, present: Tensor) -> Tensor:
        """The whole bag at once.

        Args:
            streams: float ``[B, M, T, H]``, M one or two streams.
            present: bool ``[B, M, T]``; what is false is never attended to.

        Returns:
            Float ``[B, M, T, H]``.
        """
        query, key_value = self._project(streams)
        time = torch.arange(streams.shape[2], device=streams.device)
        bias, reachable = self._bias(time[None, :] - time[:, None])
        return self._transform(streams, self._attend_fused(query, key_value, present, bias), present, reachable)

    def forward_stream(
        self, streams: Tensor, present: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The next T snippets of a stream.

        Args:
            streams: float ``[B, M, T, H]``, T at least 1.
            present: bool ``[B, M, left + right + T]``, the new snippets' presence after that of those before them.
            state: the tensors of ``state_specs``.

        Returns:
            Float ``[B, M, T, H]``, row ``k`` for snippet ``k - right`` of the stream; and the next state.
        """
        left, right = self.window.bounds()
        query, key_value = self._project(streams)
        key_value, kept = slide(state.get("keys_values"), key_value, keep=left + right)
        waiting, pending = slide(state.get("pending"), torch.cat((streams, query), -1), keep=right)
        due = waiting[:, :, :-right] if right else waiting
        streams, query = torch.split_with_sizes(due, (self._hidden_dim, self._hidden_dim), -1)
        queries = torch.arange(streams.shape[2], device=streams.device)
        keys = torch.arange(streams.shape[2] + left + right, device=streams.device)
        bias, reachable = self._bias(keys[None, :] - queries[:, None] - left)
        out = self._transform(streams, self._attend(query, key_value, present, bias), present, reachable)
        return out, {name: kept for name, kept in (("keys_values", kept), ("pending", pending)) if kept is not None}

    def state_specs(self, num_streams: int) -> tuple[StateSpec, ...]:
        """Describe the tensors that ``forward_stream`` keeps between calls."""
        left, right = self.window.bounds()
        width = 2 * self._hidden_dim
        sizes = {"keys_values": left + right, "pending": right}
        return tuple(StateSpec(name=name, shape=(num_streams, size, width)) for name, size in sizes.items() if size)

    def _project(self, streams: Tensor) -> tuple[Tensor, Tensor]:
        """Queries ``[B, M, T, H]``, and the keys and values ``[B, M, T, 2H]`` that the *other* stream offers."""
        projected = self.query_key_value(self.attention_norm(streams))
        query, key_value = torch.split_with_sizes(projected, (self._hidden_dim, 2 * self._hidden_dim), -1)
        return query, key_value.flip(1)

    def _attend(self, query: Tensor, key_value: Tensor, present: Tensor, bias: Tensor) -> Tensor:
        """Contexts ``[B, M, Q, H]``, in the few operators that every runtime has.

        Args:
            query: ``[B, M, Q, H]``.
            key_value: what the other stream offers, ``[B, M, K, 2H]``.
            present: bool ``[B, M, K]``.
            bias: added to the scores, ``[heads or 1, Q, K]``.
        """
        key, value = torch.split_with_sizes(key_value, (self._hidden_dim, self._hidden_dim), -1)
        scores = self._split_heads(query) @ self._split_heads(key).transpose(-1, -2) * self._scale
        scores = scores + bias + _blocked(present)[:, :, None, None, :]
        context: Tensor = (scores.softmax(-1) @ self._split_heads(value)).transpose(2, 3)
        return context.reshape(*context.shape[:3], self._hidden_dim)

    def _attend_fused(self, query: Tensor, key_value: Tensor, present: Tensor, bias: Tensor) -> Tensor:
        """The same, in torch's fused kernel: in training the shares of all queries and keys would fill the memory."""
        key, value = torch.split_with_sizes(key_value, (self._hidden_dim, self._hidden_dim), -1)
        context: Tensor = functional.scaled_dot_product_attention(
            self._split_heads(query).flatten(0, 1),
            self._split_heads(key).flatten(0, 1),
            self._split_heads(value).flatten(0, 1),
            attn_mask=bias + _blocked(present).flatten(0, 1)[:, None, None, :],
            scale=self._scale,
        )
        return context.transpose(1, 2).reshape(query.shape)

    def _transform(self, streams: Tensor, context: Tensor, present: Tensor, reachable: Tensor) -> Tensor:
        """The rest of the block, from the contexts on.

        Args:
            streams: ``[B, M, Q, H]``.
            context: ``[B, M, Q, H]``; anything where a query had nothing to attend to.
            present: bool ``[B, M, K]``.
            reachable: 1 where the key is in the query's window, else 0: ``[Q, K]``.
        """
        # [B, M, K] @ [K, Q]: how many keys each query can attend to.
        has_context = (present.flip(1).float() @ reachable.T) > 0
        streams = streams + self.dropout(self.output(context * has_context[..., None]))
        output: Tensor = streams + self.feed_forward(streams)
        return output

    def _bias(self, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Look up for each offset ``[Q, K]`` the bias of its score ``[heads or 1, Q, K]``, and 1 in the window, else 0.

        Both are looked up in a table of the few offsets that differ, so that streaming has next to nothing to compute.
        """
        limit = self._position_range
        first = -limit if self.window.left is None else -self.window.left - 1
        last = limit if self.window.right is None else self.window.right + 1
        distinct = torch.arange(first, last + 1, device=offsets.device)
        reachable = self.window.contains(distinct)
        table = torch.zeros(1, last + 1 - first, device=offsets.device)
        if self.position_bias is not None:
            table = self.position_bias[:, distinct.clamp(-limit, limit) + limit]
        indices = offsets.clamp(first, last) - first
        return table.masked_fill(~reachable, _BLOCKED)[:, indices], reachable.float()[indices]

    def _split_heads(self, features: Tensor) -> Tensor:
        """``[B, M, T, H]`` -> ``[B, M, heads, T, H / heads]``."""
        return features.reshape(*features.shape[:-1], self._num_heads, self._head_dim).transpose(2, 3)


def _blocked(present: Tensor) -> Tensor:
    """Compute the bias of the keys' scores ``[B, M, K]`` for the absence of the *other* stream's snippets."""
    return torch.where(present.flip(1), 0.0, _BLOCKED)
