from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from avdetect.models.heads import InstanceOutputs
from avdetect.training.objectives.contrastive import (
    ContrastiveLosses,
    Modality,
    contrast_weight,
    contrastive_losses,
    macil_sd_losses,
    macil_sd_partner_loss,
)
from benchmarks import plain_macil_sd as plain


def modality(num_bags: int, num_snippets: int, num_classes: int, valid: Tensor) -> Modality:
    return Modality(
        torch.randn(num_bags, num_snippets, num_classes),
        torch.randn(num_bags, num_snippets, 6, requires_grad=True),
        valid,
    )


def lengths_mask(lengths: list[int]) -> Tensor:
    return torch.tensor([[snippet < n for snippet in range(max(lengths))] for n in lengths])


def cosine(one: Tensor, other: Tensor) -> float:
    return (one @ other / (one.norm() * other.norm())).item()


def slowly(audio: Modality, visual: Modality, positive: Tensor, *, temperature: float = 0.1) -> ContrastiveLosses:
    """The docstring's words, one bag, class and instance after the other."""
    num_bags, num_classes = positive.shape

    def ranked(one: Modality, bag: int, label: int) -> list[int]:
        usable = [t for t in range(one.scores.shape[1]) if one.valid[bag, t]]
        return sorted(usable, key=lambda t: -one.scores[bag, t, label].item())

    def num_picks(one: Modality, bag: int) -> int:
        n = int(one.valid[bag].sum())
        return n // 16 + 1 if n else 0

    def violent(one: Modality, bag: int, label: int) -> Tensor:
        best = ranked(one, bag, label)[: num_picks(one, bag)]
        return torch.stack([one.representations[bag, t] for t in best]).mean(0)

    def term(query: Modality, other: Modality, background: bool) -> Tensor:
        total, weights = 0.0, 0
        for label in range(num_classes):
            bags = range(num_bags)
            if all(positive[bag, label] for bag in bags) or not any(positive[bag, label] for bag in bags):
                continue
            negatives = []
            for bag in bags:
                order, k = ranked(other, bag, label), num_picks(other, bag)
                if background:
                    negatives += [other.representations[bag, t] for t in order[::-1][:k]]
                elif not positive[bag, label]:
                    negatives += [other.representations[bag, t] for t in order[:k]]
            for bag in bags:
                k = num_picks(query, bag)
                if not positive[bag, label] or not k or not num_picks(other, bag):
                    continue
                asks = violent(query, bag, label)
                close = math.exp(cosine(asks, violent(other, bag, label)) / temperature)
                far = sum(math.exp(cosine(asks, one) / temperature) for one in negatives)
                total -= k * math.log(close / (close + far))
                weights += k
        return torch.tensor(total / weights if weights else 0.0)

    return ContrastiveLosses(
        term(audio, visual, True), term(audio, visual, False), term(visual, audio, True), term(visual, audio, False)
    )


def check(audio: Modality, visual: Modality, positive: Tensor) -> ContrastiveLosses:
    found = contrastive_losses(audio, visual, positive)
    torch.testing.assert_close(torch.stack(found), torch.stack(slowly(audio, visual, positive)), atol=1e-4, rtol=1e-4)
    torch.stack(found).sum().backward()
    for one in (audio, visual):
        grad = one.representations.grad
        assert grad is not None
        assert grad.isfinite().all()
        assert not grad[~one.valid].any()
    return found


@pytest.mark.parametrize("lengths", [[40, 3, 17, 16, 1], [5], [1, 1, 1], [200, 20]])
@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_losses_are_what_their_formula_says(lengths: list[int], num_classes: int, seed: int) -> None:
    torch.manual_seed(seed)
    valid = lengths_mask(lengths)
    audio, visual = (modality(*valid.shape, num_classes, valid) for _ in range(2))
    check(audio, visual, torch.rand(len(lengths), num_classes) > 0.5)


def test_gaps_in_either_modality_leave_fewer_instances() -> None:
    torch.manual_seed(0)
    valid = lengths_mask([40, 30, 40, 9])
    audio, visual = (modality(*valid.shape, 2, valid & (torch.rand(valid.shape) > 0.5)) for _ in range(2))
    check(audio, visual, torch.tensor([[True, False], [False, True], [True, True], [False, False]]))


def test_a_positive_bag_without_sound_takes_no_part() -> None:
    torch.manual_seed(0)
    valid = lengths_mask([20, 30, 9])
    silent = valid.clone()
    silent[0] = False
    audio, visual = modality(*valid.shape, 1, silent), modality(*valid.shape, 1, valid)
    check(audio, visual, torch.tensor([[True], [True], [False]]))


def test_no_bag_with_sound_gives_no_loss() -> None:
    valid = lengths_mask([20, 30])
    audio, visual = modality(*valid.shape, 1, torch.zeros_like(valid)), modality(*valid.shape, 1, valid)
    assert not torch.stack(check(audio, visual, torch.tensor([[True], [False]]))).any()


@pytest.mark.parametrize("positive", [True, False])
def test_a_batch_of_one_kind_gives_no_loss(positive: bool) -> None:
    valid = lengths_mask([20, 30, 5])
    audio, visual = (modality(*valid.shape, 1, valid) for _ in range(2))
    assert not torch.stack(check(audio, visual, torch.full((3, 1), positive))).any()


def test_agreement_between_modalities_costs_less_than_disagreement() -> None:
    torch.manual_seed(0)
    valid = lengths_mask([30, 30])
    audio, visual = (modality(*valid.shape, 1, valid) for _ in range(2))
    agreeing = visual._replace(scores=audio.scores, representations=audio.representations)
    positive = torch.tensor([[True], [False]])
    agree, differ = (contrastive_losses(audio, one, positive) for one in (agreeing, visual))
    assert agree.audio_normal < differ.audio_normal


def test_the_weight_of_the_terms_rises_to_its_maximum() -> None:
    assert [contrast_weight(epoch) for epoch in (0, 5, 15, 49)] == pytest.approx([0.0, 0.5, 1.5, 1.5])


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
