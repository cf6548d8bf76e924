"""What AudioSet says of the default's classes, beside what its network learned.

A few hundred videos teach a network what a gunshot sounds like among their other sounds; the two million clips that the
audio encoder was trained on have taught it what gunshots sound like at all. Both opinions are added up, as log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avdetect.manifest import StateSpec
from avdetect.models.heads import InstanceOutputs, either, instance_mask
from avdetect.models.two_stream import TwoStreamNet
from avdetect.models.window import slide
from avdetect_export.encoder_graphs import YamnetWeights

__all__ = ["KNOWN_SOUNDS", "InformedNet", "KnownSound", "inform"]


@dataclass(frozen=True, slots=True)
class KnownSound:
    """An event class as a weighted sum of the logits of AudioSet classes."""

    gains: Mapping[str, float]
    """AudioSet display name -> gain."""
    offset: float


# `python -m avdetect_export.calibrate SOUNDS`: a logistic regression on 662 labelled sounds that assumes one window in
# ten to hold the event.
KNOWN_SOUNDS = {
    "gunshot": KnownSound({"Gunshot, gunfire": 0.37, "Cap gun": 0.05}, 0.72),
    "explosion": KnownSound({"Explosion": 0.17, "Boom": 0.19, "Eruption": 0.15}, 1.31),
    "scream": KnownSound({"Screaming": 0.22, "Groan": 0.18}, 0.97),
    "glass": KnownSound({"Shatter": 0.17}, -0.49),
    "siren": KnownSound({"Siren": 0.47}, 1.12),
    "crash": KnownSound({"Smash, crash": 0.16, "Slam": 0.19, "Bang": 0.07}, 0.82),
}


class InformedNet(TwoStreamNet):
    """A trained network with a fixed linear classifier of the audio embedding added to its audio logits.

    ``logit[audio] = logit of the network + weight @ audio + bias`` where there is sound; the fused logit says whether
    either modality does.

    Args:
        network: trained, and of the fusion ``either``.
        weight: ``[C, audio_dim]``.
        bias: ``[C]``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, network: TwoStreamNet, weight: Tensor, bias: Tensor) -> None:
        if network.config.fusion != "either":
            raise ValueError(f"the streams of the network must be joined by 'either', not {network.config.fusion!r}.")
        super().__init__(network.config)
        self.load_state_dict(network.state_dict())
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(
        self, audio: Tensor, visual: Tensor, present: Tensor, num_instances: Tensor | None = None
    ) -> InstanceOutputs:
        """As in ``TwoStreamNet``."""
        if num_instances is not None:
            present = present & instance_mask(num_instances, present.shape[1])[..., None]
        return _informed(super().forward(audio, visual, present), self._known(audio, present), present)

    def forward_stream(
        self, audio: Tensor, visual: Tensor, present: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[InstanceOutputs, dict[str, Tensor]]:
        """As in ``TwoStreamNet``."""
        outputs, next_state = super().forward_stream(audio, visual, present, state)
        known = self._known(audio, present)
        ahead = self.config.window.bounds()[1]
        if ahead:
            # What is known waits for the lookahead, with the presence it goes with.
            known, next_state["known"] = _delayed(state["known"], known, ahead)
            present, next_state["known_present"] = _delayed(state["known_present"], present, ahead)
        return _informed(outputs, known, present), next_state

    def state_specs(self) -> tuple[StateSpec, ...]:
        """As in ``TwoStreamNet``."""
        ahead = self.config.window.bounds()[1]
        if not ahead:
            return super().state_specs()
        return (
            *super().state_specs(),
            StateSpec(name="known", shape=(ahead, self.config.num_classes)),
            StateSpec(name="known_present", shape=(ahead, 2), dtype="bool"),
        )

    def _known(self, audio: Tensor, present: Tensor) -> Tensor:
        """``[B, T, C]``, zero where there is no sound."""
        known = functional.linear(audio, self.weight, self.bias)
        return known.masked_fill(~present[..., :1], 0)


def inform(network: TwoStreamNet, class_names: Sequence[str], weights: YamnetWeights) -> InformedNet:
    """Add what AudioSet says of those of ``class_names`` that ``KNOWN_SOUNDS`` names."""
    weight = np.zeros((len(class_names), network.config.audio_dim), np.float32)
    bias = np.zeros(len(class_names), np.float32)
    for row, name in enumerate(class_names):
        if (sound := KNOWN_SOUNDS.get(name)) is not None:
            gains = np.array(list(sound.gains.values()), np.float32)
            rows, biases = weights.rows(tuple(sound.gains))
            weight[row], bias[row] = gains @ rows, gains @ biases + sound.offset
    return InformedNet(network, torch.from_numpy(weight), torch.from_numpy(bias)).eval()


def _informed(outputs: InstanceOutputs, known: Tensor, present: Tensor) -> InstanceOutputs:
    audio_logits = outputs.audio_logits + known
    logits = torch.stack((audio_logits, outputs.visual_logits), 1)
    return outputs._replace(logits=either(logits, present.transpose(1, 2)), audio_logits=audio_logits)


def _delayed(past: Tensor, new: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """``[B, by, ...]`` and ``[B, T, ...]`` -> the T that are due, and what to keep."""
    joined, kept = slide(past[:, None], new[:, None], keep=by)
    assert kept is not None
    return joined[:, 0, :-by], kept[:, 0]
