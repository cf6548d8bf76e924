"""A trained alignment -> its two graphs: sound, streaming as the detector does, and text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.manifest import AlignmentSpec
from avdetect.models.alignment import ORDER_SPREAD, AlignmentNet, AudioTower, TextTower
from avdetect.runtime.session import choose_provider, open_session
from avdetect.runtime.sound_text import AlignmentModel
from avdetect.text.phrase_encoder import TextEncoder
from avdetect_export.bundle_writer import Weights
from avdetect_export.network_graph import for_export, traced_graph

__all__ = ["AlignmentParts", "alignment_parity", "export_alignment"]

AUDIO_PATH = "alignment_audio.onnx"
TEXT_PATH = "alignment_text.onnx"

_EXAMPLE_ROWS, _EXAMPLE_LENGTH = 2, 3  # no size is 1, which a tracer could take for a size to broadcast
_PARITY_SNIPPETS = (1, 37, 150)
_PARITY_PHRASES = (1, 2, 11)


@dataclass(frozen=True, slots=True)
class AlignmentParts:
    """The parts of a bundle that compare sound with text."""

    spec: AlignmentSpec
    audio_graph: bytes
    text_graph: bytes

    def files(self) -> dict[str, bytes]:
        """Give the files by their path in the bundle."""
        return {AUDIO_PATH: self.audio_graph, TEXT_PATH: self.text_graph}


def export_alignment(network: AlignmentNet, *, weights: Weights = "float32") -> AlignmentParts:
    """Export both graphs and the manifest's part.

    Raises:
        ValueError: the network's W or R is without bound.
    """
    network = for_export(network)
    left, right = network.config.window.bounds()
    spec = AlignmentSpec(
        audio_graph=AUDIO_PATH,
        text_graph=TEXT_PATH,
        joint_dim=network.config.joint_dim,
        left_context_snippets=left,
        lookahead_snippets=right,
        state=network.audio.state_specs(),
        overall_weight=network.log_overall_weight.exp().item(),
        temporal_weight=network.log_temporal_weight.exp().item(),
        order_weight=network.order_weight.item(),
        order_spread=ORDER_SPREAD,
        sharpness=network.log_sharpness.exp().item(),
        relevance_scale=network.log_relevance_scale.exp().item(),
        relevance_bias=network.relevance_bias.item(),
    )
    return AlignmentParts(spec, _audio_graph(network, weights), _text_graph(network, weights))


def alignment_parity(
    parts: AlignmentParts, network: AlignmentNet, encoder: TextEncoder, *, seed: int = 0
) -> dict[str, float]:
    """Run the graphs as the runtime does, on random sound and phrases at lengths that were not traced.

    Returns:
        The largest absolute difference from torch, by output.
    """
    network = for_export(network)
    cpu = choose_provider("cpu")
    model = AlignmentModel.open(parts.spec, parts.audio_graph, parts.text_graph, encoder, provider=cpu, num_threads=1)
    text_session = open_session(parts.text_graph, name=TEXT_PATH, provider=cpu, num_threads=1)
    generator = torch.Generator().manual_seed(seed)
    worst = {"vectors": 0.0, "salience": 0.0, "phrase_vectors": 0.0, "text_vector": 0.0}

    def note(name: str, found: np.ndarray, expected: Tensor) -> None:
        worst[name] = max(worst[name], float(np.abs(found - expected.numpy()).max(initial=0.0)))

    with torch.inference_mode():
        for length in _PARITY_SNIPPETS:
            statistics = network.audio.input
            standard = torch.randn(1, length, network.config.audio_dim, generator=generator)
            audio = standard * torch.where(statistics.scale > 0, 1 / statistics.scale, 1.0) + statistics.mean
            # A walk stays on one side of zero for a while.
            present = torch.randn(1, length, generator=generator).cumsum(1) > 0
            sound, trace = network.audio(audio, present), model.trace(audio[0].numpy(), present[0].numpy())
            note("vectors", trace.vectors, sound.snippets[0])
            note("salience", trace.salience[trace.present], sound.salience[0][present[0]])
        for length in _PARITY_PHRASES:
            phrases = functional.normalize(torch.randn(1, length, network.config.text_dim, generator=generator), dim=-1)
            places = torch.arange(length)[None]
            told = torch.ones(1, length, dtype=torch.bool)
            feed = {"phrases": phrases.numpy(), "places": places.numpy(), "told": told.numpy()}
            vectors, whole = text_session.run(["phrase_vectors", "text_vector"], feed)
            text = network.text(phrases, places, told)
            note("phrase_vectors", vectors, text.phrases)
            note("text_vector", whole, text.whole)
    return worst


class _Audio(nn.Module):
    """``AudioTower.forward_stream`` with its state as tensors one after the other."""

    def __init__(self, tower: AudioTower) -> None:
        super().__init__()
        self.tower = tower
        self.states = tuple(spec.name for spec in tower.state_specs())

    def forward(self, audio: Tensor, present: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.states, state, strict=True))
        sound, next_state = self.tower.forward_stream(audio, present, named)
        return sound.snippets, sound.salience, *(next_state[name] for name in self.states)


class _Text(nn.Module):
    """``TextTower`` without what its caller knows."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, phrases: Tensor, places: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        text = self.tower(phrases, places, told)
        return text.phrases, text.whole


def _audio_graph(network: AlignmentNet, weights: Weights) -> bytes:
    audio = _Audio(network.audio)
    states = {
        spec.name: torch.zeros(_EXAMPLE_ROWS, *spec.shape, dtype=getattr(torch, spec.dtype))
        for spec in network.audio.state_specs()
    }
    states_next = [f"{name}_next" for name in states]
    size = (_EXAMPLE_ROWS, _EXAMPLE_LENGTH)
    return traced_graph(
        audio,
        (torch.zeros(*size, network.config.audio_dim), torch.ones(size, dtype=torch.bool), *states.values()),
        inputs=["audio", "present", *states],
        outputs=["vectors", "salience", *states_next],
        timeless=[*states, *states_next],
        weights=weights,
    )


def _text_graph(network: AlignmentNet, weights: Weights) -> bytes:
    size = (_EXAMPLE_ROWS, _EXAMPLE_LENGTH)
    return traced_graph(
        _Text(network.text),
        (
            torch.ones(*size, network.config.text_dim),
            torch.zeros(size, dtype=torch.int64),
            torch.ones(size, dtype=torch.bool),
        ),
        inputs=["phrases", "places", "told"],
        outputs=["phrase_vectors", "text_vector"],
        timeless=["text_vector"],
        weights=weights,
    )
