from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from avdetect.models.heads import InstanceOutputs
from avdetect.training.objectives.macil_sd import macil_sd_losses, macil_sd_partner_loss
from benchmarks import plain_macil_sd as plain


def outputs(num_bags: int, num_snippets: int, shift: float = 0.0) -> InstanceOutputs:
    audio, visual = (torch.randn(num_bags, num_snippets, 1) + shift for _ in range(2))
    representations = (torch.randn(num_bags, num_snippets, 8, requires_grad=True) for _ in range(2))
    return InstanceOutputs(audio + visual, audio, visual, *representations)


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize(
    ("lengths", "shift"),
    [([40, 3, 17, 16, 1], -1.0), ([5], 0.0), ([30, 40], 5.0), ([30, 40], -5.0), ([1, 33, 20], -0.7)],
)
def test_the_losses_are_those_of_the_plain_rewrite(lengths: list[int], shift: float, crossed: bool) -> None:
    torch.manual_seed(1)
    made, num_instances = outputs(len(lengths), max(lengths), shift), torch.tensor(lengths)
    labels = (torch.rand(len(lengths), 1) > 0.5).float()

    bags = plain.bag_probabilities(made.logits[..., 0], num_instances)
    sides = [made.audio_representation, made.visual_representation]
    contrast = plain.contrast(
        bags,
        made.audio_logits[..., 0],
        made.visual_logits[..., 0],
        num_instances,
        *(sides[::-1] if crossed else sides),
    )
    bag = functional.binary_cross_entropy(bags, labels[:, 0])
    expected = bag + 1.2 * sum(contrast)

    found = macil_sd_losses(made, labels, num_instances, crossed=crossed)
    torch.testing.assert_close(torch.stack(found.contrast), torch.stack(contrast), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.total(1.2), expected, atol=1e-5, rtol=1e-5)


def test_crossing_changes_the_terms() -> None:
    torch.manual_seed(0)
    made, labels, num_instances = outputs(6, 30, -1.0), torch.ones(6, 1), torch.tensor([30, 20, 30, 1, 4, 9])
    crossed, straight = (macil_sd_losses(made, labels, num_instances, crossed=one) for one in (True, False))
    assert crossed.bag == straight.bag
    assert not torch.allclose(torch.stack(crossed.contrast), torch.stack(straight.contrast))


def test_the_partner_learns_from_the_bag_alone() -> None:
    torch.manual_seed(0)
    logits, labels, num_instances = (
        torch.randn(3, 20, 1),
        torch.tensor([[1.0], [0.0], [1.0]]),
        torch.tensor([20, 3, 17]),
    )
    expected = functional.binary_cross_entropy(plain.bag_probabilities(logits[..., 0], num_instances), labels[:, 0])
    torch.testing.assert_close(macil_sd_partner_loss(logits, labels, num_instances), expected)
