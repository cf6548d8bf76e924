"""A trained motion encoder -> its graph, and a bundle with it.

The graph gives the statistics of the untrained encoder, computed on the same pictures made smaller, followed by what
the trained network says of the middle of the snippet: a logit per class of the clips, and its bottleneck.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from avdetect.errors import BundleError, CheckpointError
from avdetect.manifest import Manifest, MotionSpec
from avdetect.training.motion.network import (
    DIFFERENCE_LIMIT,
    DIFFERENCE_SCALE,
    LUMA_CENTRE,
    LUMA_SCALE,
    PICTURE_CELLS,
    RATE_LIMITS,
    SPACING_S,
    MotionNet,
)
from avdetect.training.motion.train_motion import LUMA_SIZE, load_motion
from avdetect.training.motion.views import resized
from avdetect_export.bundle_writer import read_bundle
from avdetect_export.encoder_bundle import NewEncoder, export_encoders
from avdetect_export.graph_builder import GraphBuilder
from avdetect_export.motion_graph import MOTION, MotionGraphSpec, MotionStatistics, motion_feature_names
from avdetect_export.parity import open_graph

__all__ = [
    "appearance_graph",
    "encoder_feature_names",
    "motion_bundle",
    "motion_encoder_graph",
    "motion_encoder_parity",
]

_MAX_DIFFERENCE = 0.05
"""Between graph and network, on numbers of size 1: the graph stores its weights in half precision."""


def appearance_graph(base: Path) -> bytes:
    """The appearance encoder of a bundle, an ONNX file.

    Raises:
        BundleError: there is no bundle, it is damaged, or it has no such encoder.
    """
    manifest, files = read_bundle(base)
    if manifest.visual is None:
        raise BundleError(f"{base} has no appearance encoder, and a motion encoder is trained on from one.")
    return files[manifest.visual.graph]


def motion_bundle(base: Path, checkpoint: Path, output: Path) -> Manifest:
    """Write a bundle of the encoders of ``base`` with a trained motion encoder, and without a detector.

    Args:
        base: the bundle from whose appearance encoder it was trained on.
        checkpoint: what ``train_motion`` wrote.
        output: the bundle's folder.

    Raises:
        BundleError: the base cannot be used.
        CheckpointError: the checkpoint cannot be read, is of another base, or its graph does not compute what the
            network does.
        OutputError: the bundle cannot be written.
    """
    encoder, notes = motion_encoder(checkpoint, appearance_graph(base))
    return export_encoders(base, output, {"motion": encoder}, name=output.name, notes={"motion": notes})


def motion_encoder(checkpoint: Path, appearance: bytes) -> tuple[NewEncoder, dict[str, Any]]:
    """A trained motion encoder as a part of a bundle, and how it came about.

    Args:
        checkpoint: what ``train_motion`` wrote.
        appearance: the appearance encoder from which it was trained on, an ONNX file.

    Raises:
        CheckpointError: the checkpoint cannot be read, is of another base, or its graph does not compute what the
            network does.
    """
    trained = load_motion(checkpoint, appearance)
    graph = motion_encoder_graph(trained.network, onnx.load_from_string(appearance), LUMA_SIZE)
    difference = motion_encoder_parity(graph, trained.network, LUMA_SIZE)
    names = encoder_feature_names(trained.class_names, trained.network)
    spec = MotionSpec(
        graph="motion.onnx",
        cells_per_snippet=MOTION.num_cells,
        height=LUMA_SIZE[0],
        width=LUMA_SIZE[1],
        embedding_dim=len(names),
        logits={name: names.index(f"logit_{name}") for name in trained.class_names},
    )
    notes = {**trained.notes, "features": list(names), "graph_difference": round(difference, 5)}
    return (spec, graph.SerializeToString(deterministic=True)), notes


def encoder_feature_names(class_names: tuple[str, ...], network: MotionNet) -> tuple[str, ...]:
    """Names of the numbers of the embedding, in order."""
    seen = (f"seen_{number}" for number in range(network.config.bottleneck_dim))
    return (*motion_feature_names(), *(f"logit_{name}" for name in class_names), *seen)


def motion_encoder_graph(
    network: MotionNet, appearance: onnx.ModelProto, luma_size: tuple[int, int], spec: MotionGraphSpec = MOTION
) -> onnx.ModelProto:
    """``luma`` uint8 ``[N, 9, *luma_size]``, ``time_s`` float32 ``[N, 9]`` -> ``embedding`` float32 ``[N, D]``.

    Args:
        network: trained.
        appearance: the graph that its trunk was made of.
        luma_size: height and width of the pictures, a whole multiple of those that the statistics are made of.
        spec: of the statistics.
    """
    g = GraphBuilder("motion_encoder")
    luma = g.input("luma", "uint8", ("N", spec.num_cells + 1, *luma_size))
    time_s = g.input("time_s", "float32", ("N", spec.num_cells + 1))
    statistics = MotionStatistics(g, spec, _smaller(g, luma, luma_size, (spec.height, spec.width)), time_s)
    parts = [statistics.build(), *_seen(g, network, appearance, luma, luma_size, time_s, statistics.cut)]
    width = len(motion_feature_names(spec)) + network.config.num_classes + network.config.bottleneck_dim
    g.output("embedding", g.op("Concat", *parts, axis=1), "float32", ("N", width))
    return g.build()


def _smaller(g: GraphBuilder, luma: str, size: tuple[int, int], wanted: tuple[int, int]) -> str:
    """Pictures averaged over whole pixels, in whole grey levels, as the scorer makes them at that size."""
    factor = size[0] // wanted[0]
    if size != (factor * wanted[0], factor * wanted[1]):
        raise ValueError(f"pictures of {size} are no whole multiple of {wanted}.")
    pictures = g.as_float(luma)
    if factor == 1:
        return pictures
    return g.op("Round", g.op("AveragePool", pictures, kernel_shape=(factor, factor), strides=(factor, factor)))


def _seen(
    g: GraphBuilder,
    network: MotionNet,
    appearance: onnx.ModelProto,
    luma: str,
    luma_size: tuple[int, int],
    time_s: str,
    cut: str,
) -> list[str]:
    """The network's logits and its bottleneck, ``[N, classes]`` and ``[N, bottleneck_dim]``."""
    places = g.integers(*PICTURE_CELLS)
    pictures = g.as_float(g.op("Gather", luma, places, axis=1))
    height, width = network.config.size
    if (height, width) != luma_size:
        scales = g.constant(np.array([1, 1, height / luma_size[0], width / luma_size[1]], np.float32))
        pictures = g.op("Resize", pictures, "", scales, mode="linear")
    centred = g.op("Sub", pictures, g.reduce("ReduceMean", pictures, 2, 3))
    change = g.op("Sub", g.slice(centred, 1, 1), g.slice(centred, 1, 0, -1))
    change = g.op("Mul", change, g.unsqueeze(_rates(g, time_s, places, cut), 2, 3))
    change = g.op("Clip", change, g.constant(-DIFFERENCE_LIMIT), g.constant(DIFFERENCE_LIMIT))
    middle = g.op("Sub", g.slice(pictures, 1, 1, 2), g.constant(LUMA_CENTRE))
    channels = g.op("Concat", g.op("Mul", middle, g.constant(LUMA_SCALE)), change, axis=1)
    trunk = _trunk(g, network, appearance, channels)
    pooled = g.op("Flatten", g.op("GlobalAveragePool", trunk), axis=1)
    bottleneck = g.op("Tanh", _dense(g, pooled, network.squeeze))
    return [_dense(g, pooled, network.classify), bottleneck]


def _rates(g: GraphBuilder, time_s: str, places: str, cut: str) -> str:
    """What each difference is multiplied with, ``[N, 2]``: none across a cut, nor where a picture stands in for one."""
    times = g.op("Gather", time_s, places, axis=1)
    elapsed = g.op("Sub", g.slice(times, 1, 1), g.slice(times, 1, 0, -1))
    rate = g.op("Div", g.constant(SPACING_S), g.op("Max", elapsed, g.constant(1e-4)))
    rate = g.op("Clip", rate, *(g.constant(limit) for limit in RATE_LIMITS))
    counted = g.as_float(g.op("Greater", elapsed, g.constant(1e-4)))
    first, middle, last = PICTURE_CELLS
    cuts = [g.reduce("ReduceMax", g.slice(cut, 1, *span), 1) for span in ((first, middle), (middle, last))]
    whole = g.op("Sub", g.constant(1.0), g.op("Concat", *cuts, axis=1))
    return g.op("Mul", g.op("Mul", g.op("Mul", rate, counted), whole), g.constant(DIFFERENCE_SCALE))


def _trunk(g: GraphBuilder, network: MotionNet, appearance: onnx.ModelProto, channels: str) -> str:
    """The nodes of the appearance encoder between entry and exit, with the network's weights."""
    stored = {one.name: one for one in appearance.graph.initializer}
    weights = network.trunk.weights_by_name
    producers = {node.output[0]: node for node in appearance.graph.node}
    values: dict[str, str] = {network.entry: channels}

    def constant(name: str) -> str:
        array = numpy_helper.to_array(stored[name])
        trained = _numpy(weights[name]) if name in weights else array.astype(np.float32)
        return g.constant(trained, half=array.dtype == np.float16)

    for node in _between(appearance, network.entry, network.exit):
        if node.op_type == "Cast" and node.input[0] in stored:
            continue
        inputs = []
        for name in node.input:
            made_by = producers.get(name)
            source = made_by.input[0] if made_by is not None and made_by.input[0] in stored else name
            inputs.append(values[name] if name in values else constant(source))
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        values[node.output[0]] = g.op(node.op_type, *inputs, **attributes)
    return values[network.exit]


def _between(model: onnx.ModelProto, entry: str, last: str) -> list[onnx.NodeProto]:
    """The nodes that are needed for ``last`` when ``entry`` is given, in order."""
    producers = {node.output[0]: index for index, node in enumerate(model.graph.node)}
    needed: set[int] = set()
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name != entry and name in producers and producers[name] not in needed:
            needed.add(producers[name])
            waiting.extend(model.graph.node[producers[name]].input)
    return [model.graph.node[index] for index in sorted(needed)]


def _dense(g: GraphBuilder, value: str, layer: torch.nn.Linear) -> str:
    return g.op("Gemm", value, g.constant(_numpy(layer.weight)), g.constant(_numpy(layer.bias)), transB=1)


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))


def motion_encoder_parity(graph: onnx.ModelProto, network: MotionNet, luma_size: tuple[int, int]) -> float:
    """Largest difference between what the graph and the network say of smooth random pictures that move.

    Raises:
        CheckpointError: it is too large for the graph to be the network.
    """
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (4, 1, luma_size[0] // 8 + 4, luma_size[1] // 8 + 4), dtype=np.uint8)
    fine = coarse.repeat(8, axis=2).repeat(8, axis=3)
    num_pictures = max(PICTURE_CELLS) + 3
    luma = np.concatenate(
        [fine[:, :, at : at + luma_size[0], at : at + luma_size[1]] for at in range(num_pictures)], axis=1
    )
    time_s = np.tile(np.arange(num_pictures, dtype=np.float32) * np.float32(SPACING_S / 2), (4, 1))
    found = open_graph(graph).run(None, {"luma": luma, "time_s": time_s})[0]
    with torch.inference_mode():
        pictures = resized(torch.from_numpy(luma[:, list(PICTURE_CELLS)]).float(), network.config.size)
        outputs = network(pictures, torch.ones(4, 2))
    wanted = torch.cat([outputs.logits, outputs.bottleneck], dim=1).numpy()
    difference = float(np.abs(found[:, -wanted.shape[1] :] - wanted).max())
    if difference > _MAX_DIFFERENCE * max(1.0, float(np.abs(wanted).max())):
        raise CheckpointError(f"the graph does not compute what the network does: they differ by {difference:.3g}.")
    return difference
