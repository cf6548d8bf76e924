from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avdetect.models.heads import Fusion, InstanceHead, instance_mask, pick, topk_mean


def test_instances_come_before_padding() -> None:
    assert instance_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 2**31))
def test_a_bag_is_the_mean_of_its_highest_sixteenth_and_one_more(lengths: list[int], classes: int, seed: int) -> None:
    values = torch.randn(len(lengths), max(lengths), classes, generator=torch.Generator().manual_seed(seed))
    pooled = topk_mean(values, torch.tensor(lengths))
    for bag, n in enumerate(lengths):
        for label in range(classes):
            highest = sorted(values[bag, :n, label].tolist(), reverse=True)[: n // 16 + 1]
            assert abs(pooled[bag, label].item() - sum(highest) / len(highest)) < 1e-5


def test_padding_is_never_the_highest() -> None:
    values = torch.tensor([[[-5.0], [100.0], [100.0]]])
    assert topk_mean(values, torch.tensor([1])).item() == -5.0


def test_the_gradient_goes_to_the_picked_instances_alone() -> None:
    values = torch.tensor([[[1.0], [3.0], [2.0]]], requires_grad=True)
    topk_mean(values, torch.tensor([3])).sum().backward()
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [0.0, 1.0, 0.0]


def test_fewer_instances_for_one_pick_pool_more_of_the_bag() -> None:
    values = torch.arange(4.0).view(1, 4, 1)
    assert topk_mean(values, torch.tensor([4]), instances_per_pick=2).item() == 2.0  # 3, 2 and 1


def test_nothing_is_picked_from_a_bag_without_instances() -> None:
    picks = pick(torch.zeros(2, 20, 1), torch.tensor([[False] * 20, [True] * 20]))
    assert picks.picked[..., 0].tolist() == [[False, False], [True, True]]


def test_the_lowest_are_picked_among_the_valid() -> None:
    values = torch.tensor([[[-9.0], [0.0], [-1.0], [5.0]]])
    picks = pick(values, torch.tensor([[False, True, True, True]]), lowest=True)
    assert picks.indices[0, 0, 0].item() == 2


def test_the_fused_logit_is_the_prior_and_what_the_streams_say() -> None:
    head = InstanceHead(hidden_dim=3, num_classes=2)
    with torch.no_grad():
        head.prior.copy_(torch.tensor([-1.0, 0.5]))
    streams = torch.randn(2, 2, 4, 3)
    fused, by_stream = head(streams, torch.ones(2, 2, 4, dtype=torch.bool))
    torch.testing.assert_close(fused + head.prior, by_stream.sum(1))


def test_an_absent_stream_says_the_prior() -> None:
    head = InstanceHead(hidden_dim=3, num_classes=2)
    with torch.no_grad():
        head.prior.copy_(torch.tensor([-1.0, 0.5]))
    streams = torch.randn(1, 2, 4, 3)
    streams[:, 0] = 0
    present = torch.tensor([[[False] * 4, [True] * 4]])
    fused, by_stream = head(streams, present)
    torch.testing.assert_close(by_stream[:, 0], head.prior.expand(1, 4, 2))
    torch.testing.assert_close(fused, by_stream[:, 1])


def test_either_stream_alone_makes_an_event_and_an_absent_one_takes_no_part() -> None:
    head = InstanceHead(hidden_dim=3, num_classes=2, fusion="either")
    torch.nn.init.constant_(head.prior, -1.0)
    streams = 5 * torch.randn(2, 2, 40, 3)
    present = torch.rand(2, 2, 40) > 0.3
    fused, by_stream = head(streams, present)
    missed = (1 - by_stream.sigmoid() * present[..., None]).prod(1)
    torch.testing.assert_close(fused.sigmoid(), 1 - missed)
    assert fused.isfinite().all()


@pytest.mark.parametrize("fusion", ["sum", "either"])
def test_a_stream_takes_no_part_in_a_class_that_it_cannot_tell(fusion: Fusion) -> None:
    tells = torch.tensor([[True, False], [True, True]])
    head = InstanceHead(hidden_dim=3, num_classes=2, fusion=fusion, tells=tells)
    streams, present = torch.randn(2, 2, 4, 3), torch.ones(2, 2, 4, dtype=torch.bool)
    fused, by_stream = head(streams, present)
    torch.testing.assert_close(fused[..., 1], by_stream[:, 1, :, 1])
    assert (by_stream[:, 0, :, 1].sigmoid() == 0).all()
    assert (by_stream[..., 0].sigmoid() > 0).all()
