from __future__ import annotations

import pytest

from avdetect.media.wall_clock import WallClock


def test_the_packet_that_was_held_up_the_least_tells_the_time() -> None:
    clock = WallClock()
    for media_s, late_s in ((0.0, 0.9), (0.5, 0.4), (1.0, 0.1), (1.5, 0.6)):
        clock.see(0, media_s, 1000.0 + media_s + late_s)

    assert clock.fix() == pytest.approx(1000.1)


def test_delays_are_no_drift_but_a_slow_clock_is() -> None:
    clock = WallClock()
    clock.see(0, 0.0, 1000.0)
    clock.fix()
    for second in range(200):  # segments of six seconds, each of which comes when it is complete
        clock.see(0, second, 1000.0 + (second // 6 + 1) * 6)
    assert abs(clock.drift_s) <= 1.0
    for second in range(200, 3000):  # a thousandth slower than the time of day
        clock.see(0, second, 1000.0 + second * 1.001)

    assert clock.drift_s == pytest.approx(3.0, abs=0.1)


def test_streams_that_run_apart_are_told_from_those_that_always_were() -> None:
    clock = WallClock()
    clock.fix()
    for tick in range(3000):
        clock.see(0, tick / 25, 1000.0 + tick / 25)
        clock.see(1, tick / 25 - 0.8, 1000.0 + tick / 25)
    assert clock.skew_s == pytest.approx(0.0, abs=1e-6)
    for tick in range(3000, 12_000):
        clock.see(0, tick / 25, 1000.0 + tick / 25)
        clock.see(1, tick / 25 * 0.999 - 0.8, 1000.0 + tick / 25)
    assert clock.skew_s == pytest.approx(0.45, abs=0.05)


def test_a_stream_of_which_little_came_is_not_compared() -> None:
    clock = WallClock()
    clock.fix()
    for tick in range(3000):
        clock.see(0, tick / 25, 1000.0 + tick / 25)
        if tick < 1000 or tick % 100 == 0:
            clock.see(1, tick / 25, 1000.0 + tick / 25 + (0.0 if tick < 1000 else 2.0))

    assert clock.skew_s == pytest.approx(0.0, abs=1e-6)
