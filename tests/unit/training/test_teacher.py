from __future__ import annotations

import math

import pytest
import torch

from avdetect.training.objectives.teacher import distillation_loss


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_loss_is_what_its_formula_says(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 7, 2), torch.randn(3, 7, 2)
    valid = torch.rand(3, 7) > 0.4
    total, count = 0.0, 0
    for bag in range(3):
        for snippet in range(7):
            if valid[bag, snippet]:
                for label in range(2):
                    p, q = (
                        1 / (1 + math.exp(-one[bag, snippet, label].item() / temperature)) for one in (teacher, student)
                    )
                    total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
                    count += 1
    found = distillation_loss(student, teacher, valid, temperature=temperature)
    assert found.item() == pytest.approx(temperature**2 * total / count, rel=1e-4)


def test_a_student_that_agrees_has_no_loss() -> None:
    logits = torch.tensor([[[-30.0, 0.0, 30.0, 200.0]]])
    assert distillation_loss(logits, logits, torch.ones(1, 1, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-6)


def test_nothing_valid_is_no_loss() -> None:
    student = torch.randn(1, 4, 2, requires_grad=True)
    loss = distillation_loss(student, torch.randn(1, 4, 2), torch.zeros(1, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = (torch.randn(1, 4, 2, requires_grad=True) for _ in range(2))
    distillation_loss(student, teacher, torch.ones(1, 4, dtype=torch.bool)).backward()
    assert student.grad is not None
    assert teacher.grad is None
