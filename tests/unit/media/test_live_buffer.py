"""The queue between the network and a decoder that may fall behind, and what is kept of a live source for clips."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from av.packet import Packet

from avdetect.media import live_buffer
from avdetect.media.live_buffer import PacketQueue, PacketRing, Received
from avdetect.media.planes import Orientation
from avdetect.media.thumbnail import MAX_WIDTH, thumbnail
from tests.synth.media import MediaFactory


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
    monkeypatch.setattr(live_buffer, "_MAX_BYTES", 50)
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
    monkeypatch.setattr(live_buffer, "_MAX_BYTES", 5)
    queue = PacketQueue(max_lag_s=None)
    queue.put(received(0))
    outcomes = []
    putter = threading.Thread(target=lambda: outcomes.append(queue.put(received(1))))
    putter.start()
    queue.close()
    putter.join(5)

    assert outcomes == [False]


TURNED = Orientation(90)


def fill(path: Path, *, max_s: float, max_bytes: int = 10_000_000, keep_from_s: float | None = None) -> PacketRing:
    """A ring that a whole file went through, which is closed again."""
    with av.open(path) as container:
        streams = [container.streams.video[0], *container.streams.audio]
        ring = PacketRing(streams, max_s=max_s, max_bytes=max_bytes)
        ring.keep_from(keep_from_s)
        for packet in container.demux(streams):
            if packet.dts is not None:
                is_entry = packet.stream_index == streams[0].index and packet.is_keyframe
                ring.add(Received(packet, 0.0, float(packet.dts * packet.time_base), is_entry))
    return ring


def times_s(packets: Sequence[av.Packet]) -> list[float]:
    return [float(packet.dts * packet.time_base) for packet in packets if packet.stream.type == "video"]


@pytest.fixture(scope="module")
def path(media: MediaFactory) -> Path:
    """Ten seconds with a key frame every second."""
    return media.flash_and_tone("ring.mkv", duration_s=10.0)


def test_whole_groups_of_pictures_are_kept_for_the_time_asked_for(path: Path) -> None:
    packets = fill(path, max_s=3).since(0.0)

    assert packets[0].is_keyframe
    assert 3.0 <= 10 - times_s(packets)[0] <= 4.5


def test_what_is_wanted_since_a_moment_begins_at_the_key_frame_before(path: Path) -> None:
    ring = fill(path, max_s=8)
    begins = [times_s(ring.since(start_s))[0] for start_s in (5.0, 5.5, 5.9)]

    assert all(0 <= start_s - begin <= 1.2 for start_s, begin in zip((5.0, 5.5, 5.9), begins, strict=True))


def test_what_somebody_waits_for_is_kept_for_longer(path: Path) -> None:
    assert times_s(fill(path, max_s=1, keep_from_s=2.5).since(0.0))[0] <= 2.5


def test_it_never_holds_more_than_its_share(path: Path) -> None:
    everything = sum(packet.size for packet in fill(path, max_s=60).since(0.0))
    ring = fill(path, max_s=60, max_bytes=everything // 3, keep_from_s=0.0)
    packets = ring.since(0.0)

    assert 0 < sum(packet.size for packet in packets) <= everything // 3
    assert packets[0].is_keyframe
    assert fill(path, max_s=60, max_bytes=100).since(0.0) == []


def test_copies_have_timestamps_of_their_own(path: Path) -> None:
    ring = fill(path, max_s=5)
    ring.since(0.0)[0].dts = 123

    assert ring.since(0.0)[0].dts != 123


@pytest.mark.parametrize(("time_s", "is_bright"), [(0.6, False), (1.4, True), (1.9, False)])
def test_a_thumbnail_shows_the_moment_asked_for(path: Path, time_s: float, is_bright: bool) -> None:
    ring = fill(path, max_s=60)
    stream = ring.streams[0]
    assert isinstance(stream, av.VideoStream)
    jpeg = thumbnail([packet for packet in ring.since(time_s) if packet.stream is stream], stream, time_s)

    assert jpeg is not None
    decoder = av.CodecContext.create("mjpeg", "r")
    (picture,) = decoder.decode(av.Packet(jpeg))
    assert (picture.width, picture.height) == (160, 120)
    assert (picture.to_ndarray(format="gray").mean() > 128) == is_bright


def test_a_thumbnail_of_a_large_picture_is_small_and_upright(media: MediaFactory) -> None:
    wide = media.flash_and_tone("wide.mp4", size="1280x360", audio=(), duration_s=1)
    with av.open(wide) as container:
        stream = container.streams.video[0]
        jpeg = thumbnail(
            [packet for packet in container.demux(stream) if packet.size], stream, 0.5, orientation=Orientation(90)
        )

    assert jpeg is not None
    (picture,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(jpeg))
    assert (picture.width, picture.height) == (MAX_WIDTH * 360 // 1280, MAX_WIDTH)


def test_there_is_no_thumbnail_of_nothing(path: Path) -> None:
    stream = fill(path, max_s=5).streams[0]
    assert isinstance(stream, av.VideoStream)

    assert thumbnail([], stream, 1.0) is None
