from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from avdetect.models.fusion import CrossModalBlock
from avdetect.models.window import Window, slide


def block(window: Window, *, position_range: int = 0, num_heads: int = 2) -> CrossModalBlock:
    torch.manual_seed(0)
    made = CrossModalBlock(
        hidden_dim=8,
        num_heads=num_heads,
        feed_forward_dim=5,
        dropout=0.5,
        window=window,
        position_range=position_range,
    ).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def slowly(layer: CrossModalBlock, streams: Tensor, present: Tensor) -> Tensor:
    """The block's docstring, snippet by snippet and head by head."""
    num_bags, num_streams, num_snippets, hidden = streams.shape
    heads = 2
    size = hidden // heads
    left = num_snippets if layer.window.left is None else layer.window.left
    right = num_snippets if layer.window.right is None else layer.window.right
    weight, bias = layer.query_key_value.weight, layer.query_key_value.bias
    normed = layer.attention_norm(streams)
    query, key, value = (
        functional.linear(normed, weight[i * hidden : (i + 1) * hidden], bias[i * hidden : (i + 1) * hidden])
        for i in range(3)
    )
    out = torch.empty_like(streams)
    for b in range(num_bags):
        for m in range(num_streams):
            other = num_streams - 1 - m
            for t in range(num_snippets):
                seen = [s for s in range(max(0, t - left), min(num_snippets, t + right + 1)) if present[b, other, s]]
                context = torch.zeros(hidden)
                for h in range(heads if seen else 0):
                    part = slice(h * size, (h + 1) * size)
                    scores = []
                    for s in seen:
                        score = query[b, m, t, part] @ key[b, other, s, part] / math.sqrt(size)
                        if layer.position_bias is not None:
                            limit = layer.position_bias.shape[1] // 2
                            score = score + layer.position_bias[h, max(-limit, min(limit, s - t)) + limit]
                        scores.append(score)
                    shares = torch.stack(scores).softmax(0)
                    for share, s in zip(shares, seen, strict=True):
                        context[part] += share * value[b, other, s, part]
                attended = streams[b, m, t] + layer.output(context)
                out[b, m, t] = attended + layer.feed_forward(attended)
    return out


@pytest.mark.parametrize("window", [Window(None, None), Window(3, 2), Window(0, 0), Window(None, 1), Window(2, None)])
@pytest.mark.parametrize("position_range", [0, 1, 20])
@pytest.mark.parametrize("num_streams", [1, 2])
def test_the_block_is_what_its_formula_says(window: Window, position_range: int, num_streams: int) -> None:
    layer = block(window, position_range=position_range)
    streams = torch.randn(2, num_streams, 9, 8)
    present = torch.rand(2, num_streams, 9) > 0.4
    with torch.no_grad():
        torch.testing.assert_close(layer(streams, present), slowly(layer, streams, present))


def test_with_nothing_to_attend_to_a_snippet_goes_on_as_it_came() -> None:
    layer = block(Window(2, 2))
    streams = torch.randn(1, 2, 6, 8, requires_grad=True)
    present = torch.ones(1, 2, 6, dtype=torch.bool)
    present[:, 1] = False
    out = layer(streams, present)
    torch.testing.assert_close(out[:, 0], streams[:, 0] + layer.feed_forward(streams[:, 0]))
    out.sum().backward()
    assert streams.grad is not None
    assert streams.grad.isfinite().all()


def test_half_precision_gives_no_nan_where_there_is_nothing_to_attend_to() -> None:
    layer = block(Window(2, 2), position_range=2)
    present = torch.zeros(1, 2, 6, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(1, 2, 6, 8), present).isfinite().all()


def test_a_window_reaches_no_less_than_zero() -> None:
    with pytest.raises(ValueError, match="left must not be negative, got -1"):
        Window(-1, 0)


def test_an_unbounded_window_has_no_streaming_form() -> None:
    with pytest.raises(ValueError, match="no streaming form"):
        block(Window(None, 2)).state_specs(2)


def test_sliding_keeps_the_last() -> None:
    past = torch.arange(3.0).view(1, 1, 3)
    joined, kept = slide(past, torch.tensor([[[3.0]]]), keep=3)
    assert joined.flatten().tolist() == [0, 1, 2, 3]
    assert kept is not None
    assert kept.flatten().tolist() == [1, 2, 3]
