"""MACIL-SD written plainly, one thing after the other, with loops over the batch as in the published algorithm.

What the vectorised code is timed against, and what the tests check it against. Weights are taken by their published
names from a state dict, so it shares no module with avdetect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

HEADS = 4
DROPOUT = 0.1
TEMPERATURE = 0.1


def audio_visual(
    weights: Mapping[str, Tensor], audio: Tensor, visual: Tensor, *, training: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Fused, audio and visual logits ``[B, T, 1]``, and the audio and visual representations ``[B, T, H]``."""
    heard = _linear(weights, "fc_a", audio)
    seen = _linear(weights, "fc_v", visual)
    new_seen = _layer(weights, seen, heard, training)
    new_heard = _layer(weights, heard, seen, training)
    audio_logits = _linear(weights, "att_mmil.fc", new_heard)
    visual_logits = _linear(weights, "att_mmil.fc", new_seen)
    return audio_logits + visual_logits, audio_logits, visual_logits, new_heard, new_seen


def visual_only(weights: Mapping[str, Tensor], visual: Tensor, *, training: bool) -> Tensor:
    """Logits ``[B, T, 1]``."""
    seen = _linear(weights, "fc_v", visual)
    return _linear(weights, "att_mmil.fc", _layer(weights, seen, seen, training))


def _layer(weights: Mapping[str, Tensor], query: Tensor, other: Tensor, training: bool) -> Tensor:
    normed = _norm(weights, "cma.layer.sublayer.0.norm", query)
    attended = _attention(weights, normed, other, training)
    query = query + functional.dropout(attended, DROPOUT, training)
    normed = _norm(weights, "cma.layer.sublayer.1.norm", query)
    wide = functional.relu(_linear(weights, "cma.layer.feed_forward.w_1", normed))
    wide = functional.dropout(wide, DROPOUT, training)
    narrow = _linear(weights, "cma.layer.feed_forward.w_2", wide)
    return query + functional.dropout(narrow, DROPOUT, training)


def _attention(weights: Mapping[str, Tensor], query: Tensor, other: Tensor, training: bool) -> Tensor:
    name = "cma.layer.self_attn.linears"
    size = query.shape[-1] // HEADS
    queries, keys, values = (
        _linear(weights, f"{name}.{index}", one).view(len(one), -1, HEADS, size).transpose(1, 2)
        for index, one in enumerate((query, other, other))
    )
    shares = (queries @ keys.transpose(2, 3) / math.sqrt(size)).softmax(-1)
    context = functional.dropout(shares, DROPOUT, training) @ values
    return _linear(weights, f"{name}.3", context.transpose(1, 2).contiguous().view(query.shape))


def bag_probabilities(logits: Tensor, num_instances: Tensor) -> Tensor:
    """``[B]`` from ``[B, T]``, bag after bag."""
    bags = []
    for bag, n in zip(logits, num_instances.tolist(), strict=True):
        bags.append(bag[:n].topk(n // 16 + 1).values.mean())
    return torch.stack(bags).sigmoid()


def contrast(
    bag_scores: Tensor,
    audio_scores: Tensor,
    visual_scores: Tensor,
    num_instances: Tensor,
    audio_side: Tensor,
    visual_side: Tensor,
) -> list[Tensor]:
    """The four InfoNCE terms, bag after bag: audio asks (background, normal), then visual asks.

    ``audio_side`` is what the audio scores select from; the published training loop hands over the visual stream here.
    """
    violent: list[list[Tensor]] = [[], []]
    background: list[list[Tensor]] = [[], []]
    normal: list[list[Tensor]] = [[], []]
    sides = ((audio_scores, audio_side), (visual_scores, visual_side))
    for bag, n in enumerate(num_instances.tolist()):
        k = n // 16 + 1
        for side, (scores, representations) in enumerate(sides):
            lowest = scores[bag, :n].topk(k, largest=False).indices
            highest = scores[bag, :n].topk(k, largest=True).indices
            background[side].append(representations[bag][lowest])
            if bag_scores[bag] > 0.5:
                mean = representations[bag][highest].mean(0, keepdim=True)
                violent[side].append(mean.expand(k, -1))
            else:
                normal[side].append(representations[bag][highest])
    if not violent[0] or not normal[0]:
        return [torch.zeros(())] * 4
    return [
        _info_nce(torch.cat(violent[asks]), torch.cat(violent[other]), torch.cat(negatives[other]))
        for asks, other in ((0, 1), (1, 0))
        for negatives in (background, normal)
    ]


def _info_nce(query: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    query, positive, negatives = (functional.normalize(one, dim=1) for one in (query, positive, negatives))
    close = (query * positive).sum(1, keepdim=True)
    cosines = torch.cat((close, query @ negatives.T), 1)
    return functional.cross_entropy(cosines / TEMPERATURE, torch.zeros(len(query), dtype=torch.long))


def _linear(weights: Mapping[str, Tensor], name: str, features: Tensor) -> Tensor:
    return functional.linear(features, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Mapping[str, Tensor], name: str, features: Tensor) -> Tensor:
    return functional.layer_norm(features, features.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])
