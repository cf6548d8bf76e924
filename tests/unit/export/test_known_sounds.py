"""The default's network and what AudioSet knows, as one detector."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect_export.known_sounds import InformedNet
from avdetect_export.network_graph import export_streaming
from avdetect_export.parity import streaming_parity

TINY = TwoStreamConfig(
    audio_dim=5,
    visual_dim=7,
    num_classes=3,
    hidden_dim=8,
    num_heads=2,
    feed_forward_dim=6,
    left_context_snippets=3,
    smoothing_range_snippets=1,
    fusion="either",
    only_seen=(1,),
)


def informed(lookahead: int, weight: Tensor | None = None) -> InformedNet:
    torch.manual_seed(0)
    network = TwoStreamNet(replace(TINY, lookahead_snippets=lookahead))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return InformedNet(network, torch.randn(3, 5) if weight is None else weight, torch.zeros(3)).eval()


@pytest.mark.slow
@settings(deadline=None, max_examples=6)
@given(st.integers(0, 4))
def test_however_a_stream_is_cut_the_graph_scores_as_torch_scores_the_whole(lookahead: int) -> None:
    network = informed(lookahead)
    assert max(streaming_parity(export_streaming(network), network).values()) < 1e-4


def test_what_is_known_is_added_where_there_is_sound() -> None:
    weight = torch.randn(3, 5)
    network = informed(2, weight)
    audio, visual = torch.randn(2, 9, 5), torch.randn(2, 9, 7)
    present = torch.rand(2, 9, 2) > 0.5
    with torch.inference_mode():
        plain, more = TwoStreamNet.forward(network, audio, visual, present), network(audio, visual, present)
    heard = present[..., :1]
    torch.testing.assert_close(
        more.audio_logits, plain.audio_logits + functional.linear(audio, weight).where(heard, torch.zeros(()))
    )
    torch.testing.assert_close(more.visual_logits, plain.visual_logits)
    missed = (1 - more.audio_logits.sigmoid() * heard) * (1 - more.visual_logits.sigmoid() * present[..., 1:])
    torch.testing.assert_close(more.logits.sigmoid(), 1 - missed)


def test_streams_that_add_up_cannot_be_informed() -> None:
    network = TwoStreamNet(replace(TINY, fusion="sum", lookahead_snippets=0))
    with pytest.raises(ValueError, match="either"):
        InformedNet(network, torch.zeros(3, 5), torch.zeros(3))
