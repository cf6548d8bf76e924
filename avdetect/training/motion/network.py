"""The network of the motion encoder: an appearance encoder that is shown a picture and two differences.

Its three channels get one luma picture and what has changed since the picture 0.16 s before it and until the one
0.16 s after it. So it keeps what it knows of shapes, costs one picture a snippet, and is trained on end to end. Its
last convolution, which serves a thousand classes of things, is left out; a few numbers are read from what it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import onnx
import torch
from torch import Tensor, nn

from avdetect.errors import BundleError
from avdetect.training.graph_module import GraphModule

__all__ = ["PICTURE_CELLS", "SPACING_S", "MotionNet", "MotionNetConfig", "MotionOutputs", "trunk_of"]

PICTURE_CELLS = (2, 4, 6)
"""Which of a snippet's nine pictures the network sees: the middle one, and one on either side."""
SPACING_S = 0.16
"""Between two of them, in seconds; differences over other times are scaled to this one."""
LUMA_CENTRE, LUMA_SCALE = 127.0, 1 / 128
"""Of a picture, as the appearance encoder was trained."""
DIFFERENCE_SCALE = 4 / 128
DIFFERENCE_LIMIT = 4.0
RATE_LIMITS = (0.5, 2.0)
"""Differences over other times than 0.16 s are scaled by at most this."""


@dataclass(frozen=True, slots=True)
class MotionNetConfig:
    """What is put on top of the appearance encoder's trunk."""

    num_classes: int
    size: tuple[int, int] = (96, 128)
    """Height and width of the pictures that the network sees."""
    bottleneck_dim: int = 16
    """Numbers that stand for what is seen, each between -1 and 1."""
    trunk_dropout: float = 0.4
    bottleneck_dropout: float = 0.2


class MotionOutputs(NamedTuple):
    """Of N views."""

    bottleneck: Tensor
    """``[N, bottleneck_dim]``, between -1 and 1."""
    logits: Tensor
    """Of all that the trunk sees, ``[N, classes]``."""
    bottleneck_logits: Tensor
    """Of the bottleneck alone, ``[N, classes]``: what makes it learn, and is not shipped."""


class MotionNet(nn.Module):
    """Trunk, mean over the picture, and on top of it logits and a bottleneck with logits of its own.

    Args:
        appearance: graph of the appearance encoder whose trunk is trained on.
        config: of the rest.

    Raises:
        BundleError: the graph is not one that can be trained on.
    """

    def __init__(self, appearance: onnx.ModelProto, config: MotionNetConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = GraphModule(appearance)
        self.entry, self.exit, channels = trunk_of(appearance)
        unused = _constants_after(appearance, self.exit)
        for name, weight in self.trunk.weights_by_name.items():
            weight.requires_grad_(name not in unused)
        self.trunk_dropout = nn.Dropout(config.trunk_dropout)
        self.squeeze = nn.Linear(channels, config.bottleneck_dim)
        self.bottleneck_dropout = nn.Dropout(config.bottleneck_dropout)
        self.classify = nn.Linear(channels, config.num_classes)
        self.classify_bottleneck = nn.Linear(config.bottleneck_dim, config.num_classes)
        for layer in (self.classify, self.classify_bottleneck):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.classify.weight)  # nothing is known at first, and nothing disturbs the trunk

    def forward(self, pictures: Tensor, rates: Tensor) -> MotionOutputs:
        """Three pictures of each view in grey levels, ``[N, 3, height, width]``, and ``[N, 2]`` rates -> outputs."""
        return self.read(self.prepare(pictures, rates))

    def prepare(self, pictures: Tensor, rates: Tensor) -> Tensor:
        """The middle picture and the two differences, about 1 in size: ``[N, 3, height, width]``.

        Differences are taken after the mean of each picture is taken off, so that a change of exposure is none.
        """
        centred = pictures - pictures.mean((2, 3), keepdim=True)
        change = (centred[:, 1:] - centred[:, :-1]) * (rates * DIFFERENCE_SCALE)[:, :, None, None]
        middle = (pictures[:, 1:2] - LUMA_CENTRE) * LUMA_SCALE
        return torch.cat([middle, change.clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)], dim=1)

    def read(self, channels: Tensor) -> MotionOutputs:
        """What ``prepare`` gave -> outputs."""
        channels = channels.contiguous(memory_format=torch.channels_last)
        seen = self.trunk.evaluate({self.entry: channels}, self.exit).mean((2, 3))
        bottleneck = torch.tanh(self.squeeze(self.trunk_dropout(seen)))
        return MotionOutputs(
            bottleneck,
            self.classify(self.trunk_dropout(seen)),
            self.classify_bottleneck(self.bottleneck_dropout(bottleneck)),
        )


def trunk_of(appearance: onnx.ModelProto) -> tuple[str, str, int]:
    """Names of the tensors between which the trunk lies, and the number of its channels.

    The trunk begins where the first convolution reads and ends where the last one does.

    Raises:
        BundleError: there is no such trunk for three channels.
    """
    convolutions = [node for node in appearance.graph.node if node.op_type == "Conv"]
    if len(convolutions) < 3:
        raise BundleError("the bundle's appearance encoder is not made of convolutions: no motion encoder can be.")
    cast_from = {node.output[0]: node.input[0] for node in appearance.graph.node if node.op_type == "Cast"}
    shapes = {one.name: tuple(one.dims) for one in appearance.graph.initializer}

    def weight_shape(node: onnx.NodeProto) -> tuple[int, ...]:
        return shapes.get(cast_from.get(node.input[1], node.input[1]), ())

    first, last = weight_shape(convolutions[0]), weight_shape(convolutions[-1])
    if len(first) != 4 or len(last) != 4 or first[1] != 3:
        raise BundleError("the bundle's appearance encoder does not begin with a convolution of three channels.")
    return convolutions[0].input[0], convolutions[-1].input[0], last[1]


def _constants_after(appearance: onnx.ModelProto, exit_name: str) -> set[str]:
    """Names of constants that are used by nodes after the trunk."""
    cast_from = {node.output[0]: node.input[0] for node in appearance.graph.node if node.op_type == "Cast"}
    after = False
    names: set[str] = set()
    for node in appearance.graph.node:
        after = after or exit_name in node.input
        if after:
            names.update(cast_from.get(name, name) for name in node.input)
    return names
