"""Sound and text in one space: how well a text fits a recording, and where in it each phrase is.

After CoLLAP (arXiv 2410.02271): long sound as a sequence of snippets, long text as a sequence of phrases, compared as
wholes and by attention along time. Its weights and data are not to be had, so this is its way on our own encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from avdetect.errors import UsageError
from avdetect.manifest import StateSpec
from avdetect.models.fusion import CrossModalBlock
from avdetect.models.two_stream import StreamInput
from avdetect.models.window import Window, slide

__all__ = [
    "AlignmentConfig",
    "AlignmentNet",
    "AlignmentScores",
    "AudioTower",
    "SoundVectors",
    "TextTower",
    "TextVectors",
]

# Of the score of what is not there: a softmax gives it no weight, and it is finite.
_BLOCKED = -1e9
# Times, in snippets, and places that spread less than this say little about order.
ORDER_SPREAD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentConfig:
    """The sizes and windows that fix the network."""

    audio_dim: int
    """Size of a snippet's embedding."""
    text_dim: int
    """Size of a phrase's embedding, which is of unit length."""
    joint_dim: int = 128
    """D: of the space that both are compared in."""
    hidden_dim: int = 128
    num_heads: int = 4
    left_context_snippets: int | None = 32
    """W: a snippet's vector depends on no snippet further back; None is without bound."""
    lookahead_snippets: int | None = 2
    """R: nor on any further ahead; None is without bound."""
    position_range_snippets: int = 8
    """Attention has a learned bias for each offset up to this far; 0 for none."""
    dropout: float = 0.5
    """Probability, on what attention and feed-forward add, and on audio embeddings."""
    phrase_dropout: float = 0.2
    """Probability, on phrase embeddings."""

    def __post_init__(self) -> None:
        for name in ("audio_dim", "text_dim", "joint_dim", "hidden_dim", "num_heads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("left_context_snippets", "lookahead_snippets", "position_range_snippets"):
            if (getattr(self, name) or 0) < 0:
                raise UsageError(f"{name} must not be negative, got {getattr(self, name)}.")
        for name in ("dropout", "phrase_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        if self.hidden_dim % (2 * self.num_heads):
            raise UsageError(
                f"hidden_dim ({self.hidden_dim}) must be a multiple of 2 num_heads ({2 * self.num_heads})."
            )

    @property
    def window(self) -> Window:
        """All that a snippet's vector depends on."""
        return Window(self.left_context_snippets, self.lookahead_snippets)


class SoundVectors(NamedTuple):
    """The vectors that are kept of a recording: enough for every later question."""

    snippets: Tensor
    """Unit vectors ``[B, T, D]``, zeros where there is no sound."""
    salience: Tensor
    """``[B, T]``: the logit of a snippet's share in the recording as a whole."""
    present: Tensor
    """Bool ``[B, T]``."""

    def whole(self) -> Tensor:
        """Unit vectors ``[B, D]``: the snippets' mean, weighted by the softmax of their salience."""
        weights = self.salience.masked_fill(~self.present, _BLOCKED).softmax(-1)
        return functional.normalize((weights[..., None] * self.snippets).sum(1), dim=-1)


class TextVectors(NamedTuple):
    """A text in the joint space."""

    phrases: Tensor
    """Unit vectors ``[B, N, D]``."""
    whole: Tensor
    """Unit vectors ``[B, D]``."""
    places: Tensor
    """int64 ``[B, N]``: where in the story each phrase comes, from 0; the same for what is heard together."""
    present: Tensor
    """Bool ``[B, N]``: a text has at least one phrase."""


class AlignmentScores(NamedTuple):
    """The score of each recording for each text, ``[A, L]``; see ``AlignmentNet.scores``."""

    fused: Tensor
    overall: Tensor
    """``s_g``."""
    temporal: Tensor
    """``s_t``."""
    order: Tensor
    """``rho``."""


class AudioTower(nn.Module):
    """Audio embeddings of snippets -> their vectors, each with its surroundings: offline and streaming."""

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__()
        self.window = config.window
        self.input = StreamInput(embedding_dim=config.audio_dim, hidden_dim=config.hidden_dim, dropout=config.dropout)
        self.block = CrossModalBlock(
            hidden_dim=config.hidden_dim,
            num_heads=config.num_heads,
            feed_forward_dim=config.hidden_dim,
            dropout=config.dropout,
            window=config.window,
            position_range=config.position_range_snippets,
        )
        self.output = nn.Linear(config.hidden_dim, config.joint_dim)
        self.salience = nn.Linear(config.hidden_dim, 1)

    def forward(self, audio: Tensor, present: Tensor) -> SoundVectors:
        """The whole recording at once.

        Args:
            audio: float ``[B, T, audio_dim]``, finite where absent.
            present: bool ``[B, T]``; what is absent or padding is false.
        """
        streams = self.block(self.input(audio)[:, None], present[:, None])[:, 0]
        return self._vectors(streams, present)

    def forward_stream(
        self, audio: Tensor, present: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[SoundVectors, dict[str, Tensor]]:
        """The next T >= 1 snippets of a stream, with the contract of the detector.

        Gives what ``forward`` would of the whole stream, R snippets later: row ``k``, counted from the stream's
        start, is for snippet ``k - R``. R absent snippets at the end push the last ones out.

        Args:
            audio: float ``[B, T, audio_dim]``.
            present: bool ``[B, T]``.
            state: what the last call gave, or zeros of ``state_specs``.

        Raises:
            ValueError: W or R is without bound.
        """
        left, right = self.window.bounds()
        known, kept = slide(state.get("presence"), present[:, None], keep=left + right)
        streams, next_state = self.block.forward_stream(self.input(audio)[:, None], known, state)
        if kept is not None:
            next_state["presence"] = kept
        due = known[:, 0, left:-right] if right else known[:, 0, left:]
        return self._vectors(streams[:, 0], due), next_state

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Describe the tensors that ``forward_stream`` keeps between calls."""
        size = sum(self.window.bounds())
        presence = (StateSpec(name="presence", shape=(1, size), dtype="bool"),) if size else ()
        return presence + self.block.state_specs(1)

    def _vectors(self, streams: Tensor, present: Tensor) -> SoundVectors:
        vectors = functional.normalize(self.output(streams), dim=-1)
        return SoundVectors(vectors.masked_fill(~present[..., None], 0), self.salience(streams)[..., 0], present)


class TextTower(nn.Module):
    """Embeddings of phrases -> their vectors, and one of the text as a whole.

    A phrase means the same wherever it stands, so that it can be looked for on its own; the whole knows of order.
    """

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__()
        self._length = config.text_dim**0.5
        self._hidden_dim = config.hidden_dim
        self.dropout = nn.Dropout(config.phrase_dropout)
        self.phrase = nn.Linear(config.text_dim, config.joint_dim)
        self.input = nn.Linear(config.text_dim, config.hidden_dim)
        # Starts at zero: places mean nothing before they have been learned.
        self.place = nn.Linear(config.hidden_dim, config.hidden_dim, bias=False)
        nn.init.zeros_(self.place.weight)
        self.block = CrossModalBlock(
            hidden_dim=config.hidden_dim,
            num_heads=config.num_heads,
            feed_forward_dim=config.hidden_dim,
            dropout=config.dropout,
            window=Window(None, None),
            position_range=0,
        )
        self.salience = nn.Linear(config.hidden_dim, 1)
        self.output = nn.Linear(config.hidden_dim, config.joint_dim)

    def forward(self, phrases: Tensor, places: Tensor, present: Tensor) -> TextVectors:
        """See ``TextVectors``; ``phrases`` are embeddings of unit length, float ``[B, N, text_dim]``."""
        phrases = self._scaled(phrases)
        hidden = self.input(phrases) + self.place(_sinusoids(places, self._hidden_dim))
        hidden = self.block(hidden[:, None], present[:, None])[:, 0]
        weights = self.salience(hidden)[..., 0].masked_fill(~present, _BLOCKED).softmax(-1)
        whole = functional.normalize(self.output((weights[..., None] * hidden).sum(1)), dim=-1)
        return TextVectors(functional.normalize(self.phrase(phrases), dim=-1), whole, places, present)

    def phrase_vectors(self, phrases: Tensor) -> Tensor:
        """Phrases on their own: embeddings of unit length, float ``[..., text_dim]`` -> unit vectors ``[..., D]``."""
        return functional.normalize(self.phrase(self._scaled(phrases)), dim=-1)

    def _scaled(self, phrases: Tensor) -> Tensor:
        """Scale to the length of a vector of standard normal numbers, which layers are initialised for."""
        scaled: Tensor = self.dropout(phrases * self._length)
        return scaled


class AlignmentNet(nn.Module):
    """The two towers, and the comparison of their vectors.

    Args:
        config: sizes and windows.
    """

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioTower(config)
        self.text = TextTower(config)
        self.log_overall_weight = nn.Parameter(torch.tensor(2.0))
        self.log_temporal_weight = nn.Parameter(torch.tensor(2.5))
        self.order_weight = nn.Parameter(torch.tensor(0.0))
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))
        self.log_relevance_scale = nn.Parameter(torch.tensor(2.3))
        self.relevance_bias = nn.Parameter(torch.tensor(-5.0))

    def scores(self, sound: SoundVectors, text: TextVectors) -> AlignmentScores:
        """Compare every recording with every text, ``[A, L]``.

        In CoLLAP's notation ``z^a_t`` is the vector of snippet t, ``z^l_n`` that of phrase n of N, and ``z^a``,
        ``z^l`` are those of the wholes, all of unit length::

            s_g = <z^a, z^l>                                                     global similarity
            alpha_nt = softmax over t of  k <z^a_t, z^l_n>                       attention of a phrase to time
            s_t = 1/N sum over n of  sum over t of  alpha_nt <z^a_t, z^l_n>      attention-weighted temporal similarity

        Both are blind to order unless the wholes are not, so there is a third term. With ``m_n = sum over t of t
        alpha_nt`` when a phrase is heard and ``p_n`` its place in the story, both less their means over the phrases::

            rho = <m, p> / (|m| |p| + 1/2)

            s = w_g s_g + w_t s_t + w_o rho

        The three weights and k are learned. ``rho`` is near 1 where the order is the one told, near -1 where it is
        the reverse, and 0 for a text that tells of none.

        Args:
            sound: A recordings.
            text: L texts.
        """
        similarity = torch.einsum("atd,lnd->alnt", sound.snippets, text.phrases)
        attention = similarity * self.log_sharpness.exp()
        attention = attention.masked_fill(~sound.present[:, None, None], _BLOCKED).softmax(-1)
        told = text.present.float()
        temporal = ((attention * similarity).sum(-1) * told).sum(-1) / told.sum(-1)
        time = torch.arange(similarity.shape[-1], device=similarity.device, dtype=similarity.dtype)
        heard_at = _centred(attention @ time, told)
        places = _centred(text.places.to(similarity.dtype), told)
        lengths = heard_at.norm(dim=-1) * places.norm(dim=-1)
        order = (heard_at * places).sum(-1) / (lengths + ORDER_SPREAD)
        overall = sound.whole() @ text.whole.T
        fused = (
            self.log_overall_weight.exp() * overall
            + self.log_temporal_weight.exp() * temporal
            + self.order_weight * order
        )
        return AlignmentScores(fused, overall, temporal, order)

    def relevance_logits(self, sound: SoundVectors, phrases: Tensor) -> Tensor:
        """Score each snippet for each phrase, before the sigmoid.

        Args:
            sound: A recordings of T snippets.
            phrases: unit vectors ``[P, D]``, of any text.

        Returns:
            ``[P, A, T]``.
        """
        similarity = torch.einsum("pd,atd->pat", phrases, sound.snippets)
        return self.log_relevance_scale.exp() * similarity + self.relevance_bias


def _centred(values: Tensor, told: Tensor) -> Tensor:
    """``values`` ``[..., L, N]`` less the mean over a text's phrases, zero for what is padding."""
    mean = (values * told).sum(-1, keepdim=True) / told.sum(-1, keepdim=True)
    return (values - mean) * told


def _sinusoids(places: Tensor, width: int) -> Tensor:
    """``[B, N]`` -> ``[B, N, width]``: as in the transformer, with wavelengths up to 1000 places."""
    rates = 1000.0 ** (-torch.arange(0, width, 2, device=places.device) / width)
    angles = places[..., None] * rates
    return torch.cat((angles.sin(), angles.cos()), -1)
