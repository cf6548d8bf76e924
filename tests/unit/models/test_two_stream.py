from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avdetect.errors import UsageError
from avdetect.models.heads import InstanceOutputs
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet, VisualPartner, with_window

TINY = TwoStreamConfig(
    audio_dim=5, visual_dim=7, num_classes=3, hidden_dim=8, num_heads=2, feed_forward_dim=6, input_dropout=0.2
)


def network(config: TwoStreamConfig, seed: int = 0) -> TwoStreamNet:
    """With weights large enough for every path to matter."""
    torch.manual_seed(seed)
    made = TwoStreamNet(config).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def bags(num_bags: int, num_snippets: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(num_bags, num_snippets, 5, generator=generator)
    visual = torch.randn(num_bags, num_snippets, 7, generator=generator)
    return audio, visual, torch.rand(num_bags, num_snippets, 2, generator=generator) > 0.3


def streamed(net: TwoStreamNet, inputs: tuple[Tensor, Tensor, Tensor], chunks: list[int]) -> InstanceOutputs:
    """Feed whole streams in chunks of these sizes, again and again, and flush with absent snippets."""
    _, lookahead = net.config.window.bounds()
    padded = [torch.nn.functional.pad(one, (0, 0, 0, lookahead)) for one in inputs]
    state = net.initial_state(len(inputs[0]))
    start, rows, sizes = 0, [], cycle(chunks)
    while start < padded[0].shape[1]:
        stop = start + next(sizes)
        outputs, state = net.forward_stream(*(one[:, start:stop] for one in padded), state)
        rows.append(outputs)
        start = stop
    return InstanceOutputs(*(torch.cat(parts, 1)[:, lookahead:] for parts in zip(*rows, strict=True)))


windows = st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 3), st.integers(0, 12))


@settings(deadline=None, max_examples=25)
@given(
    windows,
    st.integers(1, 3),
    st.integers(1, 40),
    st.lists(st.integers(1, 17), min_size=1, max_size=6),
    st.integers(0, 2**31),
)
def test_however_a_stream_is_cut_it_scores_as_the_whole(
    window: tuple[int, int, int, int], num_bags: int, num_snippets: int, chunks: list[int], seed: int
) -> None:
    left, right, smoothing, positions = window
    net = network(
        replace(
            TINY,
            left_context_snippets=left,
            lookahead_snippets=right,
            smoothing_range_snippets=smoothing,
            position_range_snippets=positions,
            fusion="sum" if seed % 2 else "either",
        ),
        seed,
    )
    inputs = bags(num_bags, num_snippets, seed)
    with torch.no_grad():
        whole = net(*inputs)
        for found, expected in zip(streamed(net, inputs, chunks), whole, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(streamed(net, inputs, chunks).embedding, whole.embedding, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0, 1, 4])
@pytest.mark.parametrize(("left", "right"), [(0, 0), (3, 0), (0, 2), (4, 2)])
def test_an_output_depends_on_its_window_to_the_edges_and_on_nothing_else(
    left: int, right: int, smoothing: int
) -> None:
    net = network(
        replace(TINY, left_context_snippets=left, lookahead_snippets=right, smoothing_range_snippets=smoothing)
    )
    audio, visual, _ = bags(1, 13)
    present = torch.ones(1, 13, 2, dtype=torch.bool)
    audio, visual = audio.requires_grad_(), visual.requires_grad_()
    net(audio, visual, present).logits[0, 6].sum().backward()
    for inputs in (audio, visual):
        assert inputs.grad is not None
        felt = inputs.grad[0].abs().sum(-1).nonzero().flatten()
        assert felt.min() == 6 - left
        assert felt.max() == 6 + right


def test_the_state_does_not_grow() -> None:
    net = network(replace(TINY, left_context_snippets=6, lookahead_snippets=2, smoothing_range_snippets=1))
    state = net.initial_state(2)
    for _ in range(3):
        _, after = net.forward_stream(*bags(2, 5), state)
        assert {name: (one.shape, one.dtype) for name, one in after.items()} == {
            spec.name: ((2, *spec.shape), getattr(torch, spec.dtype)) for spec in net.state_specs()
        }
        state = after


def test_padding_and_the_rest_of_the_batch_change_nothing() -> None:
    net = network(replace(TINY, smoothing_range_snippets=2, position_range_snippets=4))
    audio, visual, present = bags(3, 20)
    lengths = torch.tensor([20, 7, 1])
    with torch.no_grad():
        together = net(audio, visual, present, lengths)
        for bag, n in enumerate(lengths.tolist()):
            alone = net(*(one[bag : bag + 1, :n] for one in (audio, visual, present)))
            torch.testing.assert_close(together.logits[bag, :n], alone.logits[0], atol=1e-5, rtol=1e-5)


def test_what_is_absent_counts_for_nothing() -> None:
    net = network(replace(TINY, left_context_snippets=4, lookahead_snippets=4, smoothing_range_snippets=1))
    audio, visual, present = bags(2, 15)
    with torch.no_grad():
        expected = net(audio, visual, present)
        spoilt = net(audio.masked_fill(~present[..., :1], 1e3), visual.masked_fill(~present[..., 1:], -1e3), present)
    for one, other in zip(spoilt, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_an_absent_modality_contributes_nothing() -> None:
    net = network(TINY)
    audio, visual, _ = bags(2, 9)
    present = torch.tensor([False, True]).expand(2, 9, 2)
    with torch.no_grad():
        outputs = net(audio, visual, present)
    torch.testing.assert_close(outputs.logits, outputs.visual_logits)
    torch.testing.assert_close(outputs.audio_logits, net.trunk.head.prior.expand(2, 9, 3))
    assert not outputs.audio_representation.any()


def test_with_nothing_present_every_score_is_the_prior() -> None:
    net = network(replace(TINY, left_context_snippets=2, lookahead_snippets=1, smoothing_range_snippets=1))
    audio, visual, _ = bags(1, 6)
    with torch.no_grad():
        logits = net(audio, visual, torch.zeros(1, 6, 2, dtype=torch.bool)).logits
    torch.testing.assert_close(logits, net.trunk.head.prior.expand(1, 6, 3))


def test_one_set_of_weights_serves_every_window() -> None:
    net = network(replace(TINY, lookahead_snippets=2, smoothing_range_snippets=3, position_range_snippets=4))
    inputs = bags(2, 12)

    nearer = with_window(net, left_context_snippets=2, lookahead_snippets=1)
    as_it_was = with_window(net)

    asked = replace(net.config, left_context_snippets=2, lookahead_snippets=1)
    made_so = TwoStreamNet(asked).eval()
    made_so.load_state_dict(net.state_dict())
    assert nearer.config == asked
    assert as_it_was.config == net.config
    with torch.no_grad():
        torch.testing.assert_close(nearer(*inputs), made_so(*inputs))
        torch.testing.assert_close(as_it_was(*inputs), net(*inputs))
        assert not torch.allclose(nearer(*inputs).logits, net(*inputs).logits)


def test_a_window_wider_than_the_bag_is_no_window() -> None:
    unbounded = network(replace(TINY, position_range_snippets=3))
    wide = network(replace(unbounded.config, left_context_snippets=50, lookahead_snippets=50))
    inputs = bags(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(wide(*inputs).logits, unbounded(*inputs).logits)


def test_inputs_are_normalised_by_the_stored_statistics() -> None:
    net = network(TINY)
    audio, visual, present = bags(2, 9)
    scale, shift = torch.rand(5) + 0.5, torch.randn(5)
    with torch.no_grad():
        expected = net(audio, visual, present).logits
        net.audio_input.set_statistics(shift, scale)
        torch.testing.assert_close(net(audio * scale + shift, visual, present).logits, expected, atol=1e-5, rtol=1e-5)


def test_a_feature_that_never_varies_is_only_centred() -> None:
    net = network(TINY)
    net.audio_input.set_statistics(torch.full((5,), 3.0), torch.zeros(5))
    assert net.audio_input.scale.tolist() == [1.0] * 5


def test_a_dropped_input_takes_the_mean() -> None:
    net = network(replace(TINY, input_dropout=0.999999)).train()
    mean = torch.full((5,), 3.0)
    net.audio_input.set_statistics(mean, torch.full((5,), 2.0))
    with torch.no_grad():
        found = net.audio_input(torch.randn(1, 4, 5))
        torch.testing.assert_close(found, net.eval().audio_input(mean.expand(1, 4, 5)))


def test_statistics_are_saved_with_the_weights() -> None:
    assert {"audio_input.mean", "audio_input.scale", "visual_input.mean"} <= TwoStreamNet(TINY).state_dict().keys()


def test_the_partner_has_the_networks_parameters_but_those_of_the_audio() -> None:
    config = replace(TINY, position_range_snippets=2, smoothing_range_snippets=1)
    mine = {name: one.shape for name, one in TwoStreamNet(config).named_parameters()}
    theirs = {name: one.shape for name, one in VisualPartner(config).named_parameters()}
    assert theirs == {name: shape for name, shape in mine.items() if not name.startswith("audio_input.")}


def test_the_partner_is_blind_to_padding_and_absence() -> None:
    torch.manual_seed(0)
    partner = VisualPartner(replace(TINY, smoothing_range_snippets=1)).eval()
    _, visual, present = bags(2, 12)
    seen = present[..., 1]
    with torch.no_grad():
        expected = partner(visual[:, :8], seen[:, :8])
        found = partner(visual.masked_fill(~seen[..., None], 1e3), seen, torch.tensor([8, 8]))
    torch.testing.assert_close(found[:, :8], expected)


def test_dropout_acts_in_training_only() -> None:
    net = network(TINY)
    inputs = bags(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(net(*inputs).logits, net(*inputs).logits)
        net.train()
        assert not torch.equal(net(*inputs).logits, net(*inputs).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio_dim": 0}, "audio_dim must be at least 1, got 0"),
        ({"num_heads": 3}, r"hidden_dim \(8\) must be a multiple of num_heads \(3\)"),
        ({"left_context_snippets": -1}, "left_context_snippets must not be negative, got -1"),
        ({"smoothing_range_snippets": -2}, "smoothing_range_snippets must not be negative, got -2"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]
