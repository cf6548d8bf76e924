from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Stream

from avdetect.media.clock import ClockRepair, WallClock

TICKS_PER_S = 90_000
STEP = TICKS_PER_S // 25


class Tracks:
    """Two streams of a transport stream, whose packets are made up one by one."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(path, "w", format="mpegts")
        self.streams: list[Stream] = [self._container.add_stream("mpeg2video"), self._container.add_stream("mp2")]
        for stream in self.streams:
            stream.time_base = Fraction(1, TICKS_PER_S)

    def packet(self, index: int, dts: int) -> Packet[Stream]:
        packet: Packet[Stream] = Packet(b"data")
        packet.stream = self.streams[index]
        packet.time_base = Fraction(1, TICKS_PER_S)
        packet.dts = dts
        packet.pts = dts + STEP
        packet.duration = STEP
        return packet

    def repaired(self, clock: ClockRepair, index: int, stamps: Iterable[int]) -> list[int]:
        packets = [self.packet(index, dts) for dts in stamps]
        for packet in packets:
            clock.repair(packet)
        return [packet.dts for packet in packets if packet.dts is not None]

    def repaired_with_foresight(self, clock: ClockRepair, index: int, stamps: Iterable[int]) -> list[int]:
        """As where a file can be read ahead."""
        packets = [self.packet(index, dts) for dts in stamps]
        for at, packet in enumerate(packets):
            clock.repair(packet, lambda at=at: iter(packets[at + 1 :]))
        return [packet.dts for packet in packets if packet.dts is not None]


@pytest.fixture
def tracks(tmp_path: Path) -> Tracks:
    return Tracks(tmp_path / "made_up.ts")


def run(start: int, length: int = 5) -> list[int]:
    return list(range(start, start + length * STEP, STEP))


@pytest.mark.parametrize("jump_s", [11, 5000, -1, -5000])
def test_a_jump_is_closed(tracks: Tracks, jump_s: int) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    stamps = run(10_000_000) + run(10_000_000 + 5 * STEP + jump_s * TICKS_PER_S)
    assert tracks.repaired(clock, 0, stamps) == run(10_000_000, 10)
    [jump] = clock.jumps
    assert jump.step_s == jump_s


def test_presentation_timestamps_are_shifted_with_decoding_timestamps(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    tracks.repaired(clock, 0, run(0))
    packet = tracks.packet(0, 100 * TICKS_PER_S)
    clock.repair(packet)
    assert (packet.dts, packet.pts) == (5 * STEP, 6 * STEP)


@pytest.mark.parametrize("step_s", [9, -0.4])
def test_a_gap_and_an_overlap_stay(tracks: Tracks, step_s: float) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    stamps = run(10_000_000) + run(10_000_000 + 5 * STEP + round(step_s * TICKS_PER_S))
    assert tracks.repaired(clock, 0, stamps) == stamps
    assert not clock.jumps


def test_a_long_gap_stays_in_formats_whose_clock_does_not_jump(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=False)
    stamps = [*run(0), *run(3600 * TICKS_PER_S)]
    assert tracks.repaired(clock, 0, stamps) == stamps


def test_both_streams_take_the_same_shift(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    jump = 777 * TICKS_PER_S
    tracks.repaired(clock, 0, run(0))
    tracks.repaired(clock, 1, run(1000, 4))
    # The second stream lost a packet at the jump: its gap must stay, or it would run ahead for ever.
    video = tracks.repaired(clock, 0, run(5 * STEP + jump))
    audio = tracks.repaired(clock, 1, run(1000 + 5 * STEP + jump))
    assert video[0] == 5 * STEP
    assert audio[0] == 1000 + 5 * STEP
    assert len(clock.jumps) == 1


def test_a_stream_that_pauses_while_the_clock_jumps_comes_back_in_step(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    jump = -777 * TICKS_PER_S
    tracks.repaired(clock, 1, run(0))
    tracks.repaired(clock, 0, [*run(0), *run(5 * STEP + jump, 25 * 60)])
    assert tracks.repaired(clock, 1, run(60 * TICKS_PER_S + jump)) == run(60 * TICKS_PER_S)
    assert len(clock.jumps) == 1


def test_a_stream_that_pauses_while_the_other_goes_on_is_left_alone(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    tracks.repaired(clock, 1, run(0))
    tracks.repaired(clock, 0, run(0, 25 * 60))
    stamps = run(60 * TICKS_PER_S)
    assert tracks.repaired(clock, 1, stamps) == stamps


def test_a_wrapped_counter_goes_on_without_a_note(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    before = run(2**33 - 5 * STEP)
    after = tracks.repaired(clock, 0, [*before, *run(0), *run(5 * STEP)])
    assert after == run(2**33 - 5 * STEP, 15)
    assert not clock.jumps


def test_a_short_way_back_is_no_wrapped_counter(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=False)
    assert tracks.repaired(clock, 0, [*run(0, 50), *run(0)]) == run(0, 55)


@pytest.mark.parametrize("length", [5, 50])
def test_what_is_read_again_follows_the_end_of_the_longest_stream(tracks: Tracks, length: int) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=False)
    for turn in range(3):
        begin = turn * (20 + length) * STEP
        assert tracks.repaired(clock, 0, run(1000, length)) == run(1000 + begin, length)
        assert tracks.repaired(clock, 1, run(1000, 20 + length)) == run(1000 + begin, 20 + length)
        clock.begin_again()
    assert not clock.jumps


@pytest.mark.parametrize("num_off", [1, 40])
@pytest.mark.parametrize("step_s", [3, -3, 3600, -3600])
def test_packets_that_are_off_do_not_move_those_after_them(tracks: Tracks, num_off: int, step_s: int) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=False)
    stamps = run(1_000_000_000, 200)
    off = [stamp + step_s * TICKS_PER_S if 100 <= at < 100 + num_off else stamp for at, stamp in enumerate(stamps)]
    assert tracks.repaired_with_foresight(clock, 0, off) == stamps


def test_a_gap_never_leads_past_the_declared_end(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=False, declared_end_s=Fraction(60))
    stamps = run(0) + run(5 * STEP + 50 * TICKS_PER_S) + run(10 * STEP + 3600 * TICKS_PER_S)
    assert tracks.repaired(clock, 0, stamps) == run(0) + run(5 * STEP + 50 * TICKS_PER_S, 10)


def test_a_clock_that_is_nothing_but_noise_does_not_make_the_media_longer(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    noise = np.random.default_rng(1).integers(0, 1 << 33, 500)
    stamps = tracks.repaired_with_foresight(clock, 0, [int(stamp) for stamp in noise])
    assert max(stamps) - min(stamps) <= 500 * STEP + 60 * TICKS_PER_S


def test_a_stream_that_begins_after_a_jump_takes_part_in_its_shift(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    far = 10_000_000 + 7200 * TICKS_PER_S
    assert tracks.repaired(clock, 0, run(10_000_000) + run(far)) == run(10_000_000, 10)
    assert tracks.repaired(clock, 1, run(far)) == run(10_000_000 + 5 * STEP)
    assert len(clock.jumps) == 1


def test_presentation_times_may_go_back_by_as_much_as_pictures_are_reordered(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=False)
    slow = 10 * TICKS_PER_S
    packets = [tracks.packet(0, 0) for _ in range(5)]
    for packet, at in zip(packets, (0, 4, 2, 1, 3), strict=True):
        packet.pts, packet.dts, packet.duration = at * slow, None, slow
        clock.repair(packet)
    assert [packet.pts for packet in packets] == [at * slow for at in (0, 4, 2, 1, 3)]
    assert not clock.jumps


def test_a_packet_without_timestamps_is_left_alone(tracks: Tracks) -> None:
    clock = ClockRepair(tracks.streams, clock_may_jump=True)
    packet = tracks.packet(0, 0)
    packet.dts = packet.pts = None
    clock.repair(packet)
    assert packet.dts is None
    assert packet.pts is None


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
