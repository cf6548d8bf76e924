from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet, MacilSdPartner
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet, VisualPartner
from avdetect.training.objectives.distillation import distillation_loss, mix_weights, mixing_momentum

TINY = TwoStreamConfig(audio_dim=3, visual_dim=4, num_classes=2, hidden_dim=8, smoothing_range_snippets=1)


def test_momentum_rises_from_its_start_to_one_on_a_cosine() -> None:
    for epoch in range(51):
        expected = 1 + 0.5 * (0.91 - 1) * (1 + math.cos(math.pi * epoch / 50))
        assert mixing_momentum(epoch) == pytest.approx(expected)
    assert mixing_momentum(0) == pytest.approx(0.91)
    assert mixing_momentum(50) == mixing_momentum(70) == 1.0


@pytest.mark.parametrize(
    ("network", "partner", "own"),
    [
        (TwoStreamNet(TINY), VisualPartner(TINY), "audio_input."),
        (MacilSdNet(MacilSdConfig()), MacilSdPartner(MacilSdConfig()), "fc_a."),
    ],
)
def test_what_both_have_is_mixed_and_the_rest_is_left(network: nn.Module, partner: nn.Module, own: str) -> None:
    before = {name: one.clone() for name, one in network.named_parameters()}
    theirs = dict(partner.named_parameters())
    mix_weights(network, partner, 0.75)
    for name, after in network.named_parameters():
        expected = before[name] if name.startswith(own) else 0.75 * before[name] + 0.25 * theirs[name]
        torch.testing.assert_close(after, expected)


def test_full_momentum_changes_nothing() -> None:
    network = TwoStreamNet(TINY)
    before = [one.clone() for one in network.parameters()]
    mix_weights(network, VisualPartner(TINY), 1.0)
    for one, other in zip(network.parameters(), before, strict=True):
        assert one.equal(other)


def test_mixing_is_no_part_of_the_gradient() -> None:
    network = TwoStreamNet(TINY)
    mix_weights(network, VisualPartner(TINY), 0.5)
    assert all(one.is_leaf and one.requires_grad for one in network.parameters())


def test_a_partner_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter in common"):
        mix_weights(TwoStreamNet(TINY), nn.Linear(2, 2), 0.5)
    with pytest.raises(ValueError, match=r"weight: the network's shape is .*2, 3.* the partner's .*2, 4"):
        mix_weights(nn.Linear(3, 2), nn.Linear(4, 2), 0.5)


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


def test_only_the_named_part_of_the_weights_is_mixed() -> None:
    def net() -> nn.Module:
        return nn.ModuleDict({"stream": nn.Linear(2, 2), "trunk": nn.Linear(2, 2)})

    mine, theirs = net(), net()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    mix_weights(mine, theirs, 0.25, only="stream.")
    after, other = mine.state_dict(), theirs.state_dict()
    for name, value in after.items():
        expected = 0.25 * before[name] + 0.75 * other[name] if name.startswith("stream.") else before[name]
        torch.testing.assert_close(value, expected)
