from __future__ import annotations

import random

from avdetect.backoff import Backoff


def test_waits_grow_to_a_ceiling_and_are_spread_out() -> None:
    many = [Backoff(first_s=0.5, max_s=30, rng=random.Random(seed)) for seed in range(300)]
    rounds = [[backoff.next_s() for backoff in many] for _ in range(12)]

    assert all(0.25 <= wait_s <= 30 for waits_s in rounds for wait_s in waits_s)
    assert max(rounds[0]) <= 1.0
    assert 1.0 < max(rounds[1]) <= 2.0
    assert max(rounds[-1]) > 29
    assert min(rounds[-1]) < 1  # full jitter: somebody comes back at once


def test_after_a_success_waits_are_short_again() -> None:
    backoff = Backoff(first_s=0.5, max_s=30)
    for _ in range(2000):
        backoff.next_s()
    assert backoff.num_failures == 2000
    backoff.reset()

    assert backoff.next_s() <= 1.0
    assert backoff.num_failures == 1


def test_a_ceiling_below_the_first_wait_holds() -> None:
    assert Backoff(first_s=0.5, max_s=0.1).next_s() <= 0.1
