"""The detector's network: what is heard and what is seen, each asking the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.errors import UsageError
from avdetect.manifest import StateSpec
from avdetect.models.fusion import CrossModalBlock
from avdetect.models.heads import Fusion, InstanceHead, InstanceOutputs, instance_mask
from avdetect.models.window import LocalSmoothing, Window, slide

__all__ = ["StreamInput", "TwoStreamConfig", "TwoStreamNet", "VisualPartner", "with_window"]

NUM_STREAMS = 2
"""Audio, then visual: the order of ``present`` and of every axis of streams."""

# Standard deviation over mean: dividing by less would magnify rounding errors.
_LEAST_VARIATION = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStreamConfig:
    """The sizes and windows of the network. The windows may be changed later: no weight depends on them."""

    audio_dim: int
    visual_dim: int
    num_classes: int
    hidden_dim: int = 128
    num_heads: int = 4
    feed_forward_dim: int = 128
    left_context_snippets: int | None = None
    """W: a snippet's outputs depend on no snippet further back; None is without bound."""
    lookahead_snippets: int | None = None
    """R: nor on any further ahead; None is without bound."""
    position_range_snippets: int = 0
    """Attention has a learned bias for each offset up to this far; 0 for none."""
    smoothing_range_snippets: int = 0
    """Representations are smoothed up to this far on either side, inside W and R; 0 for not at all."""
    fusion: Fusion = "sum"
    """The rule by which the logits of the streams become one."""
    only_heard: tuple[int, ...] = ()
    """Classes, by their place, that the visual stream cannot tell."""
    only_seen: tuple[int, ...] = ()
    """Those that the audio stream cannot tell."""
    dropout: float = 0.1
    """Probability, on what attention and feed-forward add."""
    input_dropout: float = 0.0
    """Probability, on the normalised embeddings."""

    def __post_init__(self) -> None:
        for name in ("audio_dim", "visual_dim", "num_classes", "hidden_dim", "num_heads", "feed_forward_dim"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("left_context_snippets", "lookahead_snippets", "position_range_snippets"):
            if (getattr(self, name) or 0) < 0:
                raise UsageError(f"{name} must not be negative, got {getattr(self, name)}.")
        if self.smoothing_range_snippets < 0:
            raise UsageError(f"smoothing_range_snippets must not be negative, got {self.smoothing_range_snippets}.")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        if self.fusion not in get_args(Fusion):
            raise UsageError(f"fusion must be one of {', '.join(get_args(Fusion))}, got {self.fusion}.")
        for name in ("only_heard", "only_seen"):
            if not set(getattr(self, name)) <= set(range(self.num_classes)):
                raise UsageError(f"{name} must name some of the {self.num_classes} classes, got {getattr(self, name)}.")
        if both := set(self.only_heard) & set(self.only_seen):
            raise UsageError(f"a class is only heard or only seen, not both: {', '.join(map(str, sorted(both)))}.")
        if self.hidden_dim % self.num_heads:
            raise UsageError(f"hidden_dim ({self.hidden_dim}) must be a multiple of num_heads ({self.num_heads}).")

    @property
    def tells(self) -> Tensor | None:
        """The classes that each stream can tell, bool ``[2, C]``; None for all of them."""
        if not (self.only_heard or self.only_seen):
            return None
        tells = torch.ones(NUM_STREAMS, self.num_classes, dtype=torch.bool)
        tells[0, list(self.only_seen)] = False
        tells[1, list(self.only_heard)] = False
        return tells

    @property
    def window(self) -> Window:
        """All that an output depends on."""
        return Window(self.left_context_snippets, self.lookahead_snippets)

    @property
    def smoothing_window(self) -> Window:
        """The part of the window that the smoothing uses."""
        reach = self.smoothing_range_snippets
        sides = (self.left_context_snippets, self.lookahead_snippets)
        left, right = (reach if side is None else min(reach, side) for side in sides)
        return Window(left, right)

    @property
    def attention_window(self) -> Window:
        """The part of the window that is left for attention."""
        return self.window.minus(self.smoothing_window)


class StreamInput(nn.Module):
    """Embeddings of one modality -> its stream: normalised by the training data's statistics, then projected.

    Args:
        embedding_dim: D.
        hidden_dim: H.
        dropout: probability, on the normalised embeddings.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, *, embedding_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(embedding_dim))
        self.register_buffer("scale", torch.ones(embedding_dim))
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(embedding_dim, hidden_dim)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Normalise by these from now on: float ``[D]`` each. A feature that hardly varies is only centred."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > _LEAST_VARIATION * (1 + mean.abs()), 1 / std, 1.0))

    def forward(self, embeddings: Tensor) -> Tensor:
        """``[B, T, D]`` -> ``[B, T, H]``."""
        weight, bias = self.projection.weight * self.scale, self.projection.bias
        if self.training and self.dropout.p > 0:
            # What is dropped takes the mean, not zero.
            return functional.linear(self.dropout(embeddings - self.mean), weight, bias)
        # Normalised by way of the weights, which are far fewer than the embeddings.
        return functional.linear(embeddings, weight, bias - functional.linear(self.mean, weight))


class Trunk(nn.Module):
    """Streams -> logits: all that the two-stream network and its visual partner have in common.

    Attention, then smoothing, then the head. Their windows add up to that of the network.

    Args:
        config: of the network.
        tells: which classes each of its streams can tell, bool ``[M, C]``; None for all.
    """

    def __init__(self, config: TwoStreamConfig, tells: Tensor | None) -> None:
        super().__init__()
        self._window = config.window
        self.block = CrossModalBlock(
            hidden_dim=config.hidden_dim,
            num_heads=config.num_heads,
            feed_forward_dim=config.feed_forward_dim,
            dropout=config.dropout,
            window=config.attention_window,
            position_range=config.position_range_snippets,
        )
        self.smoothing = (
            LocalSmoothing(
                hidden_dim=config.hidden_dim,
                reach=config.smoothing_range_snippets,
                window=config.smoothing_window,
            )
            if config.smoothing_range_snippets
            else None
        )
        self.head = InstanceHead(
            hidden_dim=config.hidden_dim, num_classes=config.num_classes, fusion=config.fusion, tells=tells
        )

    def forward(self, streams: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The whole bag at once.

        Args:
            streams: float ``[B, M, T, H]``.
            present: bool ``[B, M, T]``.

        Returns:
            Fused logits ``[B, T, C]``, the streams' logits ``[B, M, T, C]`` and representations ``[B, M, T, H]``.
        """
        absent = ~present[..., None]
        streams = self.block(streams, present).masked_fill(absent, 0)
        if self.smoothing is not None:
            streams = self.smoothing(streams).masked_fill(absent, 0)
        return *self.head(streams, present), streams

    def forward_stream(
        self, streams: Tensor, present: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        """The next T snippets of a stream: as ``forward``, row ``k`` for snippet ``k - R``, and the next state."""
        left, right = self._window.bounds()
        attention_left, attention_right = self.block.window.bounds()
        present, kept = slide(state.get("presence"), present, keep=left + right)
        seen = present[..., left + right - attention_left - attention_right :]
        streams, next_state = self.block.forward_stream(streams, seen, state)
        if kept is not None:
            next_state["presence"] = kept
        if self.smoothing is not None:
            attended = _before_last(present, left + right - attention_right, attention_right)
            streams, smoothing_state = self.smoothing.forward_stream(
                streams.masked_fill(~attended[..., None], 0), state
            )
            next_state |= smoothing_state
        due = _before_last(present, left, right)
        streams = streams.masked_fill(~due[..., None], 0)
        return (*self.head(streams, due), streams), next_state

    def state_specs(self, num_streams: int) -> tuple[StateSpec, ...]:
        """Describe the tensors that ``forward_stream`` keeps between calls."""
        size = sum(self._window.bounds())
        presence = (StateSpec(name="presence", shape=(num_streams, size), dtype="bool"),) if size else ()
        smoothing = self.smoothing.state_specs(num_streams) if self.smoothing is not None else ()
        return presence + self.block.state_specs(num_streams) + smoothing


class TwoStreamNet(nn.Module):
    """Audio and visual embeddings of a bag or a stream -> logits of every snippet, fused and by modality.

    Args:
        config: sizes and windows.
    """

    def __init__(self, config: TwoStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_input = StreamInput(
            embedding_dim=config.audio_dim, hidden_dim=config.hidden_dim, dropout=config.input_dropout
        )
        self.visual_input = StreamInput(
            embedding_dim=config.visual_dim, hidden_dim=config.hidden_dim, dropout=config.input_dropout
        )
        self.trunk = Trunk(config, config.tells)

    def forward(
        self, audio: Tensor, visual: Tensor, present: Tensor, num_instances: Tensor | None = None
    ) -> InstanceOutputs:
        """The whole bag at once.

        Args:
            audio: float ``[B, T, audio_dim]``.
            visual: float ``[B, T, visual_dim]``.
            present: bool ``[B, T, 2]`` (audio, visual). Absent embeddings count for nothing, but must be finite.
            num_instances: int64 ``[B]``; rows beyond are padding, and absent. None where there is none.
        """
        if num_instances is not None:
            present = present & instance_mask(num_instances, present.shape[1])[..., None]
        streams, present = self._streams(audio, visual, present)
        return _outputs(*self.trunk(streams, present))

    def forward_stream(
        self, audio: Tensor, visual: Tensor, present: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[InstanceOutputs, dict[str, Tensor]]:
        """The next T >= 1 snippets of a stream.

        Gives what ``forward`` would of the whole stream, R snippets later: row ``k`` of the outputs, counted from the
        stream's start, is for snippet ``k - R``. R absent snippets at the end push the last ones out.

        Args:
            audio: float ``[B, T, audio_dim]``.
            visual: float ``[B, T, visual_dim]``.
            present: bool ``[B, T, 2]`` (audio, visual).
            state: what the last call gave, or ``initial_state``.

        Returns:
            The outputs and the next state.

        Raises:
            ValueError: W or R is without bound.
        """
        streams, present = self._streams(audio, visual, present)
        outputs, next_state = self.trunk.forward_stream(streams, present, state)
        return _outputs(*outputs), next_state

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Describe the tensors that ``forward_stream`` keeps between calls: their size depends on W, R and H alone."""
        return self.trunk.state_specs(NUM_STREAMS)

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """The state before the first snippet: zeros, for nothing there."""
        device = self.audio_input.mean.device
        return {
            spec.name: torch.zeros(batch_size, *spec.shape, dtype=getattr(torch, spec.dtype), device=device)
            for spec in self.state_specs()
        }

    def _streams(self, audio: Tensor, visual: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Streams ``[B, 2, T, H]`` and their presence ``[B, 2, T]``."""
        streams = torch.stack((self.audio_input(audio), self.visual_input(visual)), 1)
        return streams, present.transpose(1, 2)


def with_window(
    network: TwoStreamNet, *, left_context_snippets: int | None = None, lookahead_snippets: int | None = None
) -> TwoStreamNet:
    """The same weights with another W or R, for evaluation; ``None`` leaves a side as it is."""
    config = network.config
    if left_context_snippets is not None:
        config = replace(config, left_context_snippets=left_context_snippets)
    if lookahead_snippets is not None:
        config = replace(config, lookahead_snippets=lookahead_snippets)
    other = TwoStreamNet(config)
    other.load_state_dict(network.state_dict())
    return other.eval()


class VisualPartner(nn.Module):
    """The visual half of a ``TwoStreamNet``, attending to itself, trained beside it for self-distillation.

    Its parameters have the names and shapes of those of the network it is the partner of.

    Args:
        config: that of the network.
    """

    def __init__(self, config: TwoStreamConfig) -> None:
        super().__init__()
        self.visual_input = StreamInput(
            embedding_dim=config.visual_dim, hidden_dim=config.hidden_dim, dropout=config.input_dropout
        )
        self.trunk = Trunk(config, None if config.tells is None else config.tells[1:])

    def forward(self, visual: Tensor, present: Tensor, num_instances: Tensor | None = None) -> Tensor:
        """Logits ``[B, T, C]`` from visual ``[B, T, visual_dim]``, bool ``[B, T]`` and int64 ``[B]``."""
        if num_instances is not None:
            present = present & instance_mask(num_instances, present.shape[1])
        streams = self.visual_input(visual)[:, None]
        logits: Tensor = self.trunk(streams, present[:, None])[0]
        return logits


def _outputs(logits: Tensor, stream_logits: Tensor, representations: Tensor) -> InstanceOutputs:
    return InstanceOutputs(logits, *stream_logits.unbind(1), *representations.unbind(1))


def _before_last(values: Tensor, start: int, num_last: int) -> Tensor:
    """``values[..., start:]`` without the last ``num_last``."""
    return values[..., start:-num_last] if num_last else values[..., start:]
