from __future__ import annotations

from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect_export.network_graph import (
    OUTPUTS,
    export_macil_sd,
    export_offline,
    export_streaming,
    offline_spec,
    streaming_spec,
)
from avdetect_export.parity import offline_parity, run_in_chunks, streaming_parity

TINY = TwoStreamConfig(
    audio_dim=5,
    visual_dim=7,
    num_classes=3,
    hidden_dim=8,
    num_heads=2,
    feed_forward_dim=6,
    left_context_snippets=4,
    lookahead_snippets=2,
    position_range_snippets=3,
    smoothing_range_snippets=1,
    fusion="either",
)


def network(config: TwoStreamConfig, seed: int = 0) -> TwoStreamNet:
    torch.manual_seed(seed)
    made = TwoStreamNet(config)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    made.audio_input.set_statistics(torch.randn(config.audio_dim), torch.rand(config.audio_dim) + 0.1)
    made.visual_input.set_statistics(torch.randn(config.visual_dim), torch.rand(config.visual_dim) + 0.1)
    return made


def bags(num_bags: int, num_snippets: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(num_bags, num_snippets, 5, generator=generator)
    visual = torch.randn(num_bags, num_snippets, 7, generator=generator)
    return audio, visual, torch.rand(num_bags, num_snippets, 2, generator=generator) > 0.3


def opened(graph: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@settings(deadline=None, max_examples=12)
@given(
    st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 2), st.integers(0, 12)),
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 40), st.lists(st.integers(1, 17), min_size=1, max_size=6)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**31),
)
def test_however_a_stream_is_cut_the_graph_scores_as_torch_scores_the_whole(
    window: tuple[int, int, int, int], streams: list[tuple[int, int, list[int]]], seed: int
) -> None:
    left, right, smoothing, positions = window
    config = replace(
        TINY,
        left_context_snippets=left,
        lookahead_snippets=right,
        smoothing_range_snippets=smoothing,
        position_range_snippets=positions,
    )
    net = network(config, seed).eval()
    session = opened(export_streaming(net))
    for num_bags, num_snippets, chunks in streams:
        inputs = bags(num_bags, num_snippets, seed)
        with torch.no_grad():
            whole = net(*inputs)
        found = run_in_chunks(session, net, inputs, chunk_snippets=chunks)
        logits = (whole.logits, whole.audio_logits, whole.visual_logits)
        for one, other in zip(found, [*(each.sigmoid() for each in logits), whole.embedding], strict=True):
            torch.testing.assert_close(torch.from_numpy(one), other, atol=1e-4, rtol=1e-5)


def test_inputs_and_outputs_are_those_of_the_manifest() -> None:
    net = network(TINY)
    spec = streaming_spec(net, "detector.onnx")
    session = opened(export_streaming(net))
    states = [entry.name for entry in spec.state]
    assert [one.name for one in session.get_inputs()] == ["audio", "visual", "present", *states]
    assert [one.name for one in session.get_outputs()] == [*OUTPUTS, *(f"{name}_next" for name in states)]
    assert [one.type for one in session.get_inputs()][:3] == ["tensor(float)", "tensor(float)", "tensor(bool)"]
    for entry, one in zip(spec.state, session.get_inputs()[3:], strict=True):
        assert (one.shape, one.type.replace("float", "float32")) == (["batch", *entry.shape], f"tensor({entry.dtype})")
    assert session.get_inputs()[0].shape == ["batch", "time", 5]
    assert session.get_outputs()[0].shape == ["batch", "time", 3]
    assert (spec.left_context_snippets, spec.lookahead_snippets, spec.embedding_dim) == (4, 2, 8)


def test_a_network_without_context_has_no_state() -> None:
    net = network(replace(TINY, left_context_snippets=0, lookahead_snippets=0))
    assert streaming_spec(net, "detector.onnx").state == ()
    assert streaming_parity(export_streaming(net), net)["scores"] < 1e-4


def test_an_unbounded_network_has_no_streaming_form() -> None:
    with pytest.raises(ValueError, match="no streaming form"):
        export_streaming(network(replace(TINY, left_context_snippets=None)))


@pytest.mark.parametrize("published", [False, True])
def test_a_graph_is_of_opset_17_and_has_no_control_flow(published: bool) -> None:
    graph = export_macil_sd(MacilSdNet(MacilSdConfig())) if published else export_streaming(network(TINY))
    model = onnx.load_from_string(graph)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    assert not {node.op_type for node in model.graph.node} & {"If", "Loop", "Scan"}


@pytest.mark.parametrize("window", [(None, None), (4, 2)])
def test_the_offline_form_agrees_with_torch(window: tuple[int | None, int | None]) -> None:
    net = network(replace(TINY, left_context_snippets=window[0], lookahead_snippets=window[1]))
    differences = offline_parity(export_offline(net), net)
    assert set(differences) == set(OUTPUTS)
    assert max(differences.values()) < 1e-4
    assert offline_spec(net, "detector.onnx").form == "offline"


def test_the_published_network_is_exported_with_its_own_inputs_and_output() -> None:
    torch.manual_seed(0)
    net = MacilSdNet(MacilSdConfig())
    graph = export_macil_sd(net)
    session = opened(graph)
    assert [one.name for one in session.get_inputs()] == ["audio", "visual"]
    assert [one.name for one in session.get_outputs()] == ["scores"]
    assert offline_parity(graph, net)["scores"] < 1e-4


def test_half_precision_weights_take_half_the_room_and_move_scores_a_little() -> None:
    net = network(replace(TINY, audio_dim=500, visual_dim=700, hidden_dim=64))
    with torch.no_grad():
        for modality in (net.audio_input, net.visual_input):
            modality.projection.weight.mul_(0.1)
            modality.set_statistics(torch.zeros_like(modality.mean), torch.ones_like(modality.scale))
    full, half = export_streaming(net), export_streaming(net, weights="float16")
    assert len(half) < 0.65 * len(full)
    differences = streaming_parity(half, net)
    assert 0 < differences["scores"] < 2e-2
    rounded = network(net.config)
    rounded.load_state_dict(
        {name: one.half().float() if one.numel() >= 1024 else one for name, one in net.state_dict().items()}
    )
    assert streaming_parity(half, rounded)["scores"] < 1e-4


def test_no_weight_is_stored_twice() -> None:
    net = network(replace(TINY, audio_dim=500, visual_dim=700, hidden_dim=64))
    numbers = sum(one.numel() for one in net.parameters())
    assert len(export_streaming(net)) < 4 * numbers + 60_000


def test_the_parity_check_sees_another_network() -> None:
    graph = export_streaming(network(TINY))
    assert min(streaming_parity(graph, network(TINY, seed=1)).values()) > 1e-2


def test_exporting_leaves_the_network_as_it_was() -> None:
    net = network(TINY).train()
    before = {name: one.clone() for name, one in net.state_dict().items()}
    export_streaming(net, weights="float16")
    assert net.training
    assert net.trunk.training
    for name, one in net.state_dict().items():
        assert one.equal(before[name])
