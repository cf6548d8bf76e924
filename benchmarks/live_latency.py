"""From the last packet that a score needs to the event at an MQTT subscriber: at most 0.3 s is wanted of 95 %.

The whole service with one feed and a mosquitto. What is measured is the time between the wall-clock end of what a
report covers, plus the detector's lookahead, and the report's arrival.

python benchmarks/live_latency.py [--seconds 120]
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
from live import free_port, sender
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
port = {port}
[feeds.shots]
url = "{url}"
threshold = 0.3
merge_gap_s = 0
"""


class Arrivals:
    """When reports of open events came, counted from the end of what they had to wait for."""

    def __init__(self, lookahead_s: float) -> None:
        self.latencies_s: list[float] = []
        self._lookahead_s = lookahead_s

    def take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        """A message."""
        now_s = time.time()
        try:
            report = json.loads(message.payload)
        except ValueError:
            return
        if isinstance(report, dict) and report.get("kind") == "event" and report["stage"] == "opened":
            ended_s = datetime.fromisoformat(report["ended_at"]).timestamp()
            self.latencies_s.append(now_s - ended_s - self._lookahead_s)


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A mosquitto; its port."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        yield port
        process.terminate()


def shots() -> Path:
    """Four seconds of the demo clip with shots, over and over."""
    file = media_folder() / "shots.mp4"
    if not file.exists():
        ffmpeg(
            *("-ss", "5", "-t", "4", "-i", str(DEMO), "-vf", "scale=1280:720", "-r", "25"),
            *("-c:v", "libx264", "-bf", "0", "-g", "25", "-c:a", "aac"),
            target=file,
        )
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    seconds = parser.parse_args().seconds
    manifest = read_manifest(default_bundle_path())
    arrivals = Arrivals(manifest.latency_s)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        port = opened.enter_context(broker(folder))
        url = opened.enter_context(sender(shots()))
        time.sleep(1.0)
        client = Client(CallbackAPIVersion.VERSION2)
        client.on_message = arrivals.take
        client.connect("127.0.0.1", port)
        client.subscribe("avdetect/events", qos=1)
        client.loop_start()
        opened.callback(client.loop_stop)
        config = folder / "service.toml"
        config.write_text(CONFIG.format(port=port, url=url))
        with subprocess.Popen([sys.executable, "-m", "avdetect_cli", "serve", config]) as service:
            time.sleep(seconds)
            service.send_signal(signal.SIGTERM)
    if not arrivals.latencies_s:
        raise SystemExit("no event came")
    p50, p95, longest = np.percentile(arrivals.latencies_s, [50, 95, 100])
    print(f"{len(arrivals.latencies_s)} events: p50 {p50:.3f} s, p95 {p95:.3f} s, longest {longest:.3f} s")


if __name__ == "__main__":
    main()
