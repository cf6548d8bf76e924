"""Packets between the network and the decoder: order, bounds, and what is dropped when the decoder falls behind."""

from __future__ import annotations

import threading
import time

import pytest
from av.packet import Packet

from avdetect.media import packet_queue
from avdetect.media.packet_queue import PacketQueue, Received


def received(number: int, *, age_s: float = 0.0, is_entry: bool = False, size: int = 10) -> Received:
    return Received(Packet(bytes(size)), time.monotonic() - age_s, float(number), is_entry)


def numbers(queue: PacketQueue) -> list[int]:
    found = []
    while (item := queue.get(0.0)) is not None:
        found.append(round(item.time_s))
    return found


def test_packets_come_out_in_the_order_in_which_they_went_in() -> None:
    queue = PacketQueue(max_lag_s=5)
    for number in range(5):
        queue.put(received(number))

    assert numbers(queue) == [0, 1, 2, 3, 4]
    assert not queue.dropped


def test_a_decoder_that_fell_behind_goes_on_at_a_recent_key_frame() -> None:
    queue = PacketQueue(max_lag_s=5)
    for number in range(12):  # entries have waited for 5.2, 3.7, 2.2 and 0.7 s
        queue.put(received(number, age_s=5.2 - number / 2, is_entry=number % 3 == 0))

    assert numbers(queue) == [6, 7, 8, 9, 10, 11]
    assert list(queue.dropped) == [(0.0, 6.0)]


def test_without_a_recent_key_frame_the_latest_one_is_taken() -> None:
    queue = PacketQueue(max_lag_s=5)
    for number in range(8):
        queue.put(received(number, age_s=10 - number, is_entry=number in (0, 3)))

    assert numbers(queue)[0] == 3


def test_where_no_key_frame_waits_the_next_one_is_waited_for() -> None:
    queue = PacketQueue(max_lag_s=5)
    for number in range(4):
        queue.put(received(number, age_s=6, is_entry=number == 0))
    assert numbers(queue) == []
    queue.put(received(4))
    assert numbers(queue) == []
    queue.put(received(5, is_entry=True))
    queue.put(received(6))

    assert numbers(queue) == [5, 6]
    assert queue.dropped[0][0] == 0.0


def test_a_source_that_waits_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_queue, "_MAX_BYTES", 50)
    queue = PacketQueue(max_lag_s=None)

    def put() -> None:
        for number in range(100):
            queue.put(received(number, age_s=60))
        queue.close()

    putter = threading.Thread(target=put)
    putter.start()
    found = []
    while not queue.is_exhausted:
        item = queue.get(0.05)
        found += [] if item is None else [round(item.time_s)]
    putter.join()

    assert found == list(range(100))


def test_closing_lets_a_putter_that_waits_for_room_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_queue, "_MAX_BYTES", 5)
    queue = PacketQueue(max_lag_s=None)
    queue.put(received(0))
    outcomes = []
    putter = threading.Thread(target=lambda: outcomes.append(queue.put(received(1))))
    putter.start()
    queue.close()
    putter.join(5)

    assert outcomes == [False]
