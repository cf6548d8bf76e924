from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from avdetect.training.objectives.infonce import ContrastiveBatch, SymmetricInfoNCE, relevance_loss


def obvious_info_nce(logits: Tensor) -> float:
    size, total = len(logits), 0.0
    for i in range(size):
        row = [math.exp(float(logits[i, j])) for j in range(size)]
        column = [math.exp(float(logits[j, i])) for j in range(size)]
        total -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    return total / (2 * size)


def views(*names: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: functional.normalize(torch.randn(5, 7, generator=generator), dim=-1) for name in names}


def test_two_views_give_the_formula() -> None:
    batch = ContrastiveBatch(views("audio", "text"))
    expected = obvious_info_nce(batch.views["audio"] @ batch.views["text"].T / 0.2)
    assert float(SymmetricInfoNCE(temperature=0.2)(batch)) == pytest.approx(expected, rel=1e-5)


def test_three_views_give_the_mean_over_pairs() -> None:
    three = views("audio", "text", "visual")
    pairs = [("audio", "text"), ("audio", "visual"), ("text", "visual")]
    expected = sum(obvious_info_nce(three[a] @ three[b].T / 0.07) for a, b in pairs) / 3
    assert float(SymmetricInfoNCE()(ContrastiveBatch(three))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pair", [("audio", "text"), ("text", "audio")])
def test_logits_of_a_pair_take_the_place_of_its_vectors(pair: tuple[str, str]) -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(2))
    batch = ContrastiveBatch(views("audio", "text"), {pair: logits})
    assert float(SymmetricInfoNCE()(batch)) == pytest.approx(obvious_info_nce(logits), rel=1e-5)


def test_relevance_is_balanced_between_what_is_heard_and_what_is_not() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 3.0])
    heard = torch.tensor([True, False, False, True])
    counted = torch.tensor([True, True, True, False])
    expected = math.log1p(math.exp(-2.0)) + 8 * (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(0.5))) / 2
    assert float(relevance_loss(logits, heard, counted)) == pytest.approx(expected, rel=1e-5)


def test_relevance_of_nothing_is_zero() -> None:
    nothing = torch.zeros(3, dtype=torch.bool)
    assert float(relevance_loss(torch.ones(3), nothing, nothing)) == 0
