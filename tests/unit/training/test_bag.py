from __future__ import annotations

import math

import pytest
import torch

from avdetect.training.objectives.bag import bag_loss, positive_weights


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
