from __future__ import annotations

import pytest

from avdetect.media.wall_clock import WallClock


def test_the_packet_that_was_held_up_the_least_tells_the_time() -> None:
    clock = WallClock()
    for media_s, late_s in ((0.0, 0.9), (0.5, 0.4), (1.0, 0.1), (1.5, 0.6)):
        clock.see(media_s, 1000.0 + media_s + late_s)

    assert clock.fix() == pytest.approx(1000.1)


def test_delays_are_no_drift_but_a_slow_clock_is() -> None:
    clock = WallClock()
    clock.see(0.0, 1000.0)
    clock.fix()
    for second in range(200):  # segments of six seconds, each of which comes when it is complete
        clock.see(second, 1000.0 + (second // 6 + 1) * 6)
    assert abs(clock.drift_s) <= 1.0
    for second in range(200, 3000):  # a thousandth slower than the time of day
        clock.see(second, 1000.0 + second * 1.001)

    assert clock.drift_s == pytest.approx(3.0, abs=0.1)
