"""Networks -> detector graphs in ONNX.

Only operators that onnxruntime has for CPU, CUDA and TensorRT; no If, Loop or Scan. Batch and time are dynamic.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from avdetect.manifest import DetectorSpec
from avdetect.models.heads import InstanceOutputs
from avdetect.models.macil_sd import MacilSdNet
from avdetect.models.two_stream import TwoStreamNet
from avdetect_export.bundle_writer import Weights

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "OfflineDetector",
    "PublishedDetector",
    "StreamingDetector",
    "export_macil_sd",
    "export_offline",
    "export_streaming",
    "for_export",
    "offline_spec",
    "streaming_spec",
    "traced_graph",
]

OPSET = 17
INPUTS = ("audio", "visual", "present")
OUTPUTS = ("scores", "audio_scores", "visual_scores", "embedding")

Network = TypeVar("Network", bound=nn.Module)

# Smaller tensors (biases, norms, statistics) would save nothing.
_MIN_HALVED_NUMBERS = 1024


class StreamingDetector(nn.Module):
    """``TwoStreamNet.forward_stream`` with its state as tensors one after the other, and scores for logits."""

    def __init__(self, network: TwoStreamNet) -> None:
        super().__init__()
        self.network = network
        self.states = tuple(spec.name for spec in network.state_specs())

    def forward(self, audio: Tensor, visual: Tensor, present: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The inputs and outputs of ``DetectorSpec``, in its order."""
        named = dict(zip(self.states, state, strict=True))
        outputs, next_state = self.network.forward_stream(audio, visual, present, named)
        return *_published(outputs), *(next_state[name] for name in self.states)


class OfflineDetector(nn.Module):
    """``TwoStreamNet.forward`` of whole bags, with scores for logits."""

    def __init__(self, network: TwoStreamNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor, visual: Tensor, present: Tensor) -> tuple[Tensor, ...]:
        """The inputs and outputs of ``DetectorSpec``, in its order, without state."""
        return _published(self.network(audio, visual, present))


class PublishedDetector(nn.Module):
    """``MacilSdNet`` of whole bags, which knows no presence, with scores for logits."""

    def __init__(self, network: MacilSdNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, ...]:
        """``[B, T, audio_dim]``, ``[B, T, visual_dim]`` -> one output, ``[B, T, C]``."""
        outputs: InstanceOutputs = self.network(audio, visual)
        return (outputs.logits.sigmoid(),)


def streaming_spec(network: TwoStreamNet, graph: str, *, chunk_snippets: tuple[int, ...] = (1, 32)) -> DetectorSpec:
    """The manifest's entry for what ``export_streaming`` makes of ``network``.

    Args:
        network: its W and R must be bounded.
        graph: the graph's path in the bundle.
        chunk_snippets: the sizes of T for use at run time, smallest first.

    Raises:
        ValueError: the network's W or R is without bound.
    """
    left, right = network.config.window.bounds()
    return DetectorSpec(
        graph=graph,
        left_context_snippets=left,
        lookahead_snippets=right,
        chunk_snippets=chunk_snippets,
        embedding_dim=network.config.hidden_dim,
        state=network.state_specs(),
    )


def offline_spec(network: TwoStreamNet | MacilSdNet, graph: str) -> DetectorSpec:
    """The manifest's entry for what ``export_offline`` or ``export_macil_sd`` makes of ``network``."""
    return DetectorSpec(
        graph=graph,
        form="offline",
        left_context_snippets=0,
        lookahead_snippets=0,
        embedding_dim=network.config.hidden_dim,
    )


def export_streaming(network: TwoStreamNet, *, weights: Weights = "float32") -> bytes:
    """The stateful streaming detector.

    Raises:
        ValueError: the network's W or R is without bound.
    """
    network = for_export(network)
    detector = StreamingDetector(network)
    states_next = [f"{name}_next" for name in detector.states]
    return traced_graph(
        detector,
        (*_example(network), *network.initial_state(_EXAMPLE_BAGS).values()),
        inputs=[*INPUTS, *detector.states],
        outputs=[*OUTPUTS, *states_next],
        timeless=[*detector.states, *states_next],
        weights=weights,
    )


def export_offline(network: TwoStreamNet, *, weights: Weights = "float32") -> bytes:
    """The offline detector, without state: the whole bag at once, with the network's own W and R."""
    network = for_export(network)
    return traced_graph(OfflineDetector(network), _example(network), inputs=INPUTS, outputs=OUTPUTS, weights=weights)


def export_macil_sd(network: MacilSdNet, *, weights: Weights = "float32") -> bytes:
    """The published network as an offline detector: ``audio`` and ``visual`` -> ``scores``."""
    network = for_export(network)
    example = _example(network)[:2]
    return traced_graph(PublishedDetector(network), example, inputs=INPUTS[:2], outputs=OUTPUTS[:1], weights=weights)


def for_export(network: Network) -> Network:
    """A copy on the CPU, in evaluation mode: the caller's network stays as it is."""
    return copy.deepcopy(network).cpu().eval()


_EXAMPLE_BAGS, _EXAMPLE_SNIPPETS = 2, 3


def _example(network: TwoStreamNet | MacilSdNet) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs to trace with. No size is 1, which a tracer could take for a size to broadcast."""
    size = (_EXAMPLE_BAGS, _EXAMPLE_SNIPPETS)
    config = network.config
    return torch.zeros(*size, config.audio_dim), torch.zeros(*size, config.visual_dim), torch.ones(*size, 2).bool()


def _published(outputs: InstanceOutputs) -> tuple[Tensor, ...]:
    logits = (outputs.logits, outputs.audio_logits, outputs.visual_logits)
    return *(one.sigmoid() for one in logits), outputs.embedding


def traced_graph(
    detector: nn.Module,
    example: tuple[Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    weights: Weights,
    timeless: Collection[str] = (),
) -> bytes:
    """Trace ``detector``; every input and output has the axes batch and time, the ``timeless`` only batch."""
    axes = {name: {0: "batch"} if name in timeless else {0: "batch", 1: "time"} for name in (*inputs, *outputs)}
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        path = Path(folder) / "detector.onnx"
        # The newer exporter needs 20 s, writes no opset 17 that loads, and gives a graph no faster.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding")
        torch.onnx.export(
            detector.eval(),
            example,
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
        )
        model = onnx.load(path)
    if weights == "float16":
        _halve_weights(model.graph)
    onnx.checker.check_model(model, full_check=True)
    graph: bytes = model.SerializeToString()
    return graph


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Store large float32 tensors as float16, each with a Cast that onnxruntime runs once, when it loads the graph."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= _MIN_HALVED_NUMBERS:
            name, halved = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(halved, f"{name}_float16"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
