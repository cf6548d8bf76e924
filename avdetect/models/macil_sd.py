"""The published MACIL-SD network, exactly: the reference that the product's own network is measured against.

Yu, Liu, Cheng, Feng, Xie: *Modality-Aware Contrastive Instance Learning with Self-Distillation for Weakly-Supervised
Audio-Visual Violence Detection*, ACM MM 2022, arXiv 2207.05500. Modules have the names of the published weights, so
that these load as they are.

Differences from ``TwoStreamNet``: no masks (padded rows are attended to, and the rest of a batch can change a bag's
scores), attention in both directions without bound, no positions, only queries are normalised, the four attention
projections start from equal weights, and dropout is on the attention's probabilities too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.errors import CheckpointError, UsageError
from avdetect.files import open_file
from avdetect.models.heads import InstanceOutputs

__all__ = ["MacilSdConfig", "MacilSdNet", "MacilSdPartner", "load_published", "published_shapes"]

_MAX_FILE_BYTES = 8 << 30  # of a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class MacilSdConfig:
    """The sizes that fix the network; the defaults are the published values."""

    audio_dim: int = 128
    """VGGish."""
    visual_dim: int = 1024
    """I3D, RGB."""
    num_classes: int = 1
    hidden_dim: int = 128
    num_heads: int = 4
    feed_forward_dim: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("audio_dim", "visual_dim", "num_classes", "hidden_dim", "num_heads", "feed_forward_dim"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must be in [0, 1), got {self.dropout}.")
        if self.hidden_dim % self.num_heads:
            raise UsageError(f"hidden_dim ({self.hidden_dim}) must be a multiple of num_heads ({self.num_heads}).")


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention; ``linears`` are the projections Q, K, V and output."""

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self._num_heads = config.num_heads
        self._dropout = config.dropout
        self.linears = _copies(nn.Linear(config.hidden_dim, config.hidden_dim), 4)

    def forward(self, query: Tensor, key_value: Tensor) -> Tensor:
        """``[N, Q, H]`` and ``[N, K, H]`` -> ``[N, Q, H]``."""
        to_query, to_key, to_value, to_output = self.linears
        heads = (self._split(to_query(query)), self._split(to_key(key_value)), self._split(to_value(key_value)))
        attended = functional.scaled_dot_product_attention(*heads, dropout_p=self._dropout if self.training else 0.0)
        output: Tensor = to_output(attended.transpose(1, 2).flatten(2))
        return output

    def _split(self, features: Tensor) -> Tensor:
        return features.view(*features.shape[:-1], self._num_heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """``w_2 dropout(relu(w_1 x))``."""

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.hidden_dim, config.feed_forward_dim)
        self.w_2 = nn.Linear(config.feed_forward_dim, config.hidden_dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """``[..., H]`` -> ``[..., H]``."""
        output: Tensor = self.w_2(self.dropout(functional.relu(self.w_1(features))))
        return output


class Sublayer(nn.Module):
    """The surroundings of attention and feed-forward: norm before, dropout and residual after."""

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """``[..., H]`` -> ``[..., H]``, through ``layer``."""
        output: Tensor = features + self.dropout(layer(self.norm(features)))
        return output


class TransformerLayer(nn.Module):
    """Pre-norm residual attention, then pre-norm residual feed-forward; no norm at the end."""

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(config)
        self.feed_forward = FeedForward(config)
        self.sublayer = _copies(Sublayer(config), 2)

    def forward(self, query: Tensor, key_value: Tensor) -> Tensor:
        """``[N, Q, H]`` asks ``[N, K, H]``, which is taken as it is: only the query is normalised."""
        attention, feed_forward = self.sublayer
        attended = attention(query, lambda normed: self.self_attn(normed, key_value))
        output: Tensor = feed_forward(attended, self.feed_forward)
        return output


class CrossAttention(nn.Module):
    """Holds the one layer both directions go through, under its published name."""

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.layer = TransformerLayer(config)

    def forward(self, streams: Tensor) -> Tensor:
        """``[B, M, T, H]`` -> the same: each stream asks the other; a lone stream asks itself."""
        output: Tensor = self.layer(streams.flatten(0, 1), streams.flip(1).flatten(0, 1))
        return output.view(streams.shape)


class InstanceClassifier(nn.Module):
    """Holds the classifier of all streams, under its published name."""

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.hidden_dim, config.num_classes)

    def forward(self, streams: Tensor) -> Tensor:
        """``[B, M, T, H]`` -> logits ``[B, M, T, C]``."""
        logits: Tensor = self.fc(streams)
        return logits


class MacilSdNet(nn.Module):
    """The published audio-visual network.

    Args:
        config: sizes.
    """

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.config = config
        self.fc_v = nn.Linear(config.visual_dim, config.hidden_dim)
        self.fc_a = nn.Linear(config.audio_dim, config.hidden_dim)
        self.cma = CrossAttention(config)
        self.att_mmil = InstanceClassifier(config)

    def forward(self, audio: Tensor, visual: Tensor) -> InstanceOutputs:
        """The whole bag at once: ``[B, T, audio_dim]`` and ``[B, T, visual_dim]``; padding is zeros.

        The fused logit is the sum of the two streams', each with its bias.
        """
        streams = self.cma(torch.stack((self.fc_a(audio), self.fc_v(visual)), 1))
        logits = self.att_mmil(streams)
        return InstanceOutputs(logits.sum(1), *logits.unbind(1), *streams.unbind(1))


class MacilSdPartner(nn.Module):
    """The published visual-only network, trained beside the other for self-distillation.

    Its parameters have the names and shapes of those of ``MacilSdNet`` (published: ``fc`` for ``att_mmil.fc``).

    Args:
        config: that of the network it is the partner of.
    """

    def __init__(self, config: MacilSdConfig) -> None:
        super().__init__()
        self.fc_v = nn.Linear(config.visual_dim, config.hidden_dim)
        self.cma = CrossAttention(config)
        self.att_mmil = InstanceClassifier(config)

    def forward(self, visual: Tensor) -> Tensor:
        """``[B, T, visual_dim]`` -> logits ``[B, T, C]``."""
        logits: Tensor = self.att_mmil(self.cma(self.fc_v(visual)[:, None]))[:, 0]
        return logits


def load_published(path: Path | str, *, num_heads: int = 4) -> MacilSdNet:
    """Load a state dict that the published code saved; nothing in it is executed.

    The sizes are read from the weights. Weights that take no part in the forward pass are left out.

    Args:
        path: the file.
        num_heads: of the attention; the only size that the weights do not tell.

    Returns:
        The network, in evaluation mode.

    Raises:
        CheckpointError: the file is not there, is no such state dict, or lacks weights.
    """
    path = Path(path)
    try:
        open_file(path, limit=_MAX_FILE_BYTES).close()
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # what a damaged file brings out of torch
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} is no state dict of tensors: {reason}") from error
    tensors = _as_tensors(saved, path)
    config = _published_config(tensors, num_heads, path)
    shapes = published_shapes(config)
    network = MacilSdNet(config)
    missing = sorted(network.state_dict().keys() - tensors.keys())
    unknown = sorted(tensors.keys() - shapes.keys())
    if missing or unknown:
        faults = [
            f"{what} {', '.join(names)}" for what, names in (("lacks", missing), ("has unknown", unknown)) if names
        ]
        raise CheckpointError(f"{path} is not a MACIL-SD state dict: it {' and '.join(faults)}.")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shapes[name]:
            raise CheckpointError(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {shapes[name]}.")
    network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    return network.eval()


def published_shapes(config: MacilSdConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of a published state dict, those that take no part in the forward pass included.

    For the published sizes they hold 347,009 numbers.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in MacilSdNet(config).state_dict().items()}
    return shapes | _unused_shapes(config)


def _unused_shapes(config: MacilSdConfig) -> dict[str, tuple[int, ...]]:
    hidden, wide = config.hidden_dim, config.feed_forward_dim
    linears = {f"multiheadattn.linears.{index}": (hidden, hidden) for index in range(4)}
    linears |= {"feedforward.w_1": (wide, hidden), "feedforward.w_2": (hidden, wide)}
    norms = ("multiheadattn.layer_norm", "cma.layer.self_attn.layer_norm")
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in linears.items()}
    shapes |= {f"{name}.bias": (shape[0],) for name, shape in linears.items()}
    return shapes | {f"{name}.{part}": (hidden,) for name in norms for part in ("weight", "bias")}


def _as_tensors(saved: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(saved, Mapping) or not all(isinstance(value, Tensor) for value in saved.values()):
        raise CheckpointError(f"{path} is no state dict of tensors: it holds a {type(saved).__name__} of other things.")
    return {str(name): tensor for name, tensor in saved.items()}


def _published_config(tensors: Mapping[str, Tensor], num_heads: int, path: Path) -> MacilSdConfig:
    """The sizes, from the weights that have them."""

    def matrix(name: str) -> tuple[int, int]:
        tensor = tensors.get(f"{name}.weight")
        if tensor is None or tensor.ndim != 2:
            raise CheckpointError(
                f"{path} is not a MACIL-SD state dict: it has no matrix {name}.weight; "
                "expected what the published code saves of its audio-visual network."
            )
        return tensor.shape[0], tensor.shape[1]

    hidden_dim, visual_dim = matrix("fc_v")
    try:
        return MacilSdConfig(
            audio_dim=matrix("fc_a")[1],
            visual_dim=visual_dim,
            num_classes=matrix("att_mmil.fc")[0],
            hidden_dim=hidden_dim,
            num_heads=num_heads,
            feed_forward_dim=matrix("cma.layer.feed_forward.w_1")[0],
        )
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _copies(module: nn.Module, count: int) -> nn.ModuleList:
    """Copy a layer, as published: every copy starts from the same weights."""
    return nn.ModuleList(copy.deepcopy(module) for _ in range(count))
