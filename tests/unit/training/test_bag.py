from __future__ import annotations

import math

import pytest
import torch

from avdetect.training.objectives.bag import bag_loss, positive_weights, snippet_loss


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("labels", [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.3], [0.0, 0.0]]])
@pytest.mark.parametrize("weights", [None, [2.0, 0.5]])
def test_the_loss_is_what_its_formula_says(labels: list[list[float]], weights: list[float] | None) -> None:
    logits = [[0.7, -1.2], [2.0, 0.1]]
    expected = 0.0
    for bag, row in enumerate(logits):
        for label, logit in enumerate(row):
            p, y = sigmoid(logit), labels[bag][label]
            weight = weights[label] if weights else 1.0
            expected -= (weight * y * math.log(p) + (1 - y) * math.log(1 - p)) / 4
    found = bag_loss(
        torch.tensor(logits), torch.tensor(labels), positive_weight=torch.tensor(weights) if weights else None
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_hopeless_logit_gives_a_finite_loss() -> None:
    assert bag_loss(torch.tensor([[-1000.0]]), torch.tensor([[1.0]])).item() == pytest.approx(1000.0)


def test_rare_classes_weigh_more_within_bounds() -> None:
    labels = torch.zeros(100, 4)
    labels[:25, 0] = 1
    labels[:2, 1] = 1
    labels[:, 2] = 1
    assert positive_weights(labels).tolist() == pytest.approx([3.0, 10.0, 0.1, 1.0])


def test_the_snippet_loss_counts_only_what_is_known() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 3)
    known = torch.randint(-1, 2, (2, 5, 3)).float()
    total, count = 0.0, 0
    for logit, truth in zip(logits.flatten().tolist(), known.flatten().tolist(), strict=True):
        if truth >= 0:
            probability = 1 / (1 + math.exp(-logit))
            total -= math.log(probability if truth == 1 else 1 - probability)
            count += 1
    assert snippet_loss(logits, known).item() == pytest.approx(total / count, rel=1e-5)


def test_the_snippet_loss_of_the_unknown_is_zero() -> None:
    logits = torch.randn(1, 2, 2, requires_grad=True)
    loss = snippet_loss(logits, torch.full((1, 2, 2), -1.0))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
