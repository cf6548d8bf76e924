"""Scores of recordings against texts, from their vectors: ``AlignmentNet.scores`` without torch.

``z^a_t`` is the vector of snippet t, ``z^l_n`` that of phrase n of N, ``z^a`` and ``z^l`` are those of the wholes;
all are of unit length, and sums over t leave out snippets without sound::

    z^a = sum over t of softmax_t(salience) z^a_t, to unit length
    s_g = <z^a, z^l>
    alpha_nt = softmax over t of  sharpness <z^a_t, z^l_n>
    s_t = 1/N sum over n of  sum over t of  alpha_nt <z^a_t, z^l_n>
    m_n = sum over t of t alpha_nt,  p_n the phrase's place,  both less their means over n
    rho = <m, p> / (|m| |p| + order_spread)

    score = overall_weight s_g + temporal_weight s_t + order_weight rho
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import AlignmentSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SoundTrace:
    """The vectors that are kept of a recording: enough for every later question."""

    vectors: Floats
    """``(T, D)``, of unit length; zeros where there is no sound."""
    salience: Floats
    """``(T,)``."""
    present: NDArray[np.bool_]
    """``(T,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """A text in the joint space."""

    texts: tuple[str, ...]
    """The phrases, N of them."""
    phrases: Floats
    """``(N, D)``, of unit length."""
    places: NDArray[np.int64]
    """``(N,)``."""
    whole: Floats
    """``(D,)``, of unit length."""


@dataclass(frozen=True, slots=True)
class AlignmentScore:
    """The score of a recording against a text."""

    fused: float
    overall: float
    temporal: float
    order: float


def relevance(trace: SoundTrace, phrases: Floats, spec: AlignmentSpec) -> Floats:
    """The probability that each snippet is what each phrase says: ``(N, D)`` -> ``(N, T)``, 0 without sound."""
    return np.where(trace.present, probability(phrases @ trace.vectors.T, spec), np.float32(0))


def probability(cosines: Floats, spec: AlignmentSpec) -> Floats:
    """The relevance that cosines of snippets and phrases amount to, of the same shape; 0 for minus infinity."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-(spec.relevance_scale * cosines + spec.relevance_bias))), np.float32)


def fit(trace: SoundTrace, story: Story, spec: AlignmentSpec) -> AlignmentScore:
    """The formulas above; a recording without sound fits nothing, with 0 for every part."""
    if not trace.present.any():
        return AlignmentScore(0.0, 0.0, 0.0, 0.0)
    vectors = trace.vectors[trace.present].astype(np.float64)
    whole = _softmax(trace.salience[trace.present].astype(np.float64)) @ vectors
    overall = float(whole @ story.whole) / max(float(np.linalg.norm(whole)), 1e-12)
    similarity = story.phrases @ vectors.T
    attention = _softmax(spec.sharpness * similarity)
    temporal = float((attention * similarity).sum(axis=1).mean())
    heard_at = attention @ np.flatnonzero(trace.present)
    order = _agreement(heard_at, story.places.astype(np.float64), spec.order_spread)
    fused = spec.overall_weight * overall + spec.temporal_weight * temporal + spec.order_weight * order
    return AlignmentScore(fused, overall, temporal, order)


def _agreement(heard_at: NDArray[np.float64], places: NDArray[np.float64], spread: float) -> float:
    heard_at, places = heard_at - heard_at.mean(), places - places.mean()
    return float(heard_at @ places / (np.linalg.norm(heard_at) * np.linalg.norm(places) + spread))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
