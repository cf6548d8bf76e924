"""From the last packet that a score needs to the event at an MQTT subscriber: at most 0.3 s is wanted of 95 %.

The whole service with one feed and a mosquitto. The sender plays MPEG-TS itself and notes when each packet left: a
picture when it is to be shown, sound as soon as all that is in its packet has been heard. What is measured is the time
from the last packet of the last snippet that the detector looked at (the one that opened the event, and its lookahead)
to the event's arrival at the subscriber.

python benchmarks/live_latency.py [--seconds 120]
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from live import Mosquitto
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from support import DEMO, ffmpeg, media_folder

from avdetect.runtime.bundle_files import default_bundle_path, read_manifest

CONFIG = """\
[model]
device = "cpu"
[clips]
enabled = false
[web]
enabled = false
[sinks.broker]
type = "mqtt"
host = "127.0.0.1"
port = {broker}
[feeds.shots]
url = "tcp://127.0.0.1:{sender}"
threshold = 0.1
merge_gap_s = 0
"""


@dataclass(frozen=True)
class Part:
    """A packet of MPEG-TS's packets: a picture, or some frames of sound."""

    data: bytes
    begin_s: float
    due_s: float
    """When it can be sent at the earliest."""


class Sender:
    """Plays to the first who connects, and notes when each part left."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.begins_s: list[float] = []
        """Of the parts that left so far, in order."""
        self.left_unix_s: list[float] = []
        """When the last of them left that begins no later."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._play, daemon=True).start()

    def left_at_unix_s(self, end_s: float) -> float:
        """When the last part left that begins before ``end_s``, seconds from the first."""
        return self.left_unix_s[bisect_left(self.begins_s, end_s) - 1]

    def _play(self) -> None:
        connection, _ = self._server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began_s, first = time.monotonic(), self._parts[0]
        origin_s = min(part.begin_s for part in self._parts)
        left: dict[float, float] = {}
        for part in self._parts:
            time.sleep(max(began_s + part.due_s - first.due_s - time.monotonic(), 0.0))
            try:
                connection.sendall(part.data)
            except OSError:  # the service has stopped
                return
            left[part.begin_s - origin_s] = time.time()
            self.begins_s = sorted(left)
            self.left_unix_s = np.maximum.accumulate([left[begin_s] for begin_s in self.begins_s]).tolist()


def parts(file: Path) -> list[Part]:
    """What an MPEG-TS file without B frames is made of, in the order in which it can be sent."""
    data = file.read_bytes()
    spans: dict[int, tuple[float, float, str]] = {}  # by where they are in the file
    with av.open(str(file)) as container:
        for packet in container.demux():
            if packet.pts is None or packet.pos is None:
                continue
            begin_s = float(packet.pts * packet.time_base)
            end_s = begin_s + float((packet.duration or 0) * packet.time_base)
            first_s, last_s, _ = spans.get(packet.pos, (begin_s, end_s, ""))
            spans[packet.pos] = min(first_s, begin_s), max(last_s, end_s), packet.stream.type
    at = [0, *sorted(spans)[1:], len(data)]
    found = []
    for (begin, end), position in zip(pairwise(at), sorted(spans), strict=True):
        begin_s, end_s, kind = spans[position]
        found.append(Part(data[begin:end], begin_s, begin_s if kind == "video" else end_s))
    return sorted(found, key=lambda part: part.due_s)


def shots(seconds: float) -> Path:
    """Four seconds of the demo clip with shots, over and over."""
    once = media_folder() / "latency-shots.mp4"
    if not once.exists():
        ffmpeg(
            *("-ss", "5", "-t", "4", "-i", str(DEMO), "-vf", "scale=1280:720", "-r", "25"),
            *("-c:v", "libx264", "-bf", "0", "-g", "25", "-c:a", "aac"),
            target=once,
        )
    file = media_folder() / f"latency-shots-{seconds:.0f}.ts"
    if not file.exists():
        ffmpeg("-stream_loop", "-1", "-i", str(once), "-t", str(seconds), "-c", "copy", target=file)
    return file


class Arrivals:
    """What a subscriber gets, and when."""

    def __init__(self, port: int) -> None:
        self.reports: list[tuple[dict[str, Any], float]] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([("avdetect/events", 1), ("avdetect/gaps", 1)])
        self._client.loop_start()

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.reports.append((json.loads(message.payload), time.time()))

    def close(self) -> None:
        """Take no more."""
        self._client.loop_stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    seconds = parser.parse_args().seconds
    lookahead_s = read_manifest(default_bundle_path()).latency_s
    sender = Sender(parts(shots(seconds)))
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        broker = Mosquitto(folder)
        opened.callback(broker.stop)
        broker.wait()
        arrivals = Arrivals(broker.port)
        config = folder / "service.toml"
        config.write_text(CONFIG.format(broker=broker.port, sender=sender.port))
        with subprocess.Popen([sys.executable, "-m", "avdetect_cli", "serve", config]) as service:
            time.sleep(seconds)
            arrivals.close()  # what it closes and opens at the end is of no interest
            service.send_signal(signal.SIGTERM)
    opened_events = [(report, at) for report, at in arrivals.reports if report.get("stage") == "opened"]
    if not opened_events:
        raise SystemExit("no event came")
    latencies_s = [at - sender.left_at_unix_s(report["end_s"] + lookahead_s) for report, at in opened_events]
    p50, p95, longest = np.percentile(latencies_s, [50, 95, 100])
    print(f"{len(latencies_s)} events: p50 {p50:.3f} s, p95 {p95:.3f} s, longest {longest:.3f} s")


if __name__ == "__main__":
    main()
