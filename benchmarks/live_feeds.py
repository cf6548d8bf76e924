"""How many 1280x720 25 fps H.264+AAC feeds a machine holds, and how many ffmpeg could decode: half of it is wanted.

A number of feeds holds when no snippet is dropped, all snippets are scored, and 95 % of the scores are there within the
detector's lookahead (one hop at least) and 300 ms of the end of their snippet: of the arrival of its last packet. On
the wall clock a snippet ends earlier by what the sender's encoder and muxer hold back, which is printed too.

python benchmarks/live_feeds.py [--feeds 16 20 24] [--seconds 300]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path

import numpy as np
from live import watched
from support import hd_video

from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.listener import EngineListener, FeedStatus, ScoredSnippet

WARM_UP_S = 5.0
"""After all feeds have come."""
ALLOWED_S = 0.3


class Latencies(EngineListener):
    """Of the scores while ``measuring``."""

    def __init__(self) -> None:
        self.measuring = False
        self.after_end_s: list[float] = []
        self.after_packet_s: list[float] = []
        self.compute_s: list[float] = []
        self.running: set[str] = set()
        self.num_dropped: dict[str, int] = {}

    def on_score(self, scored: ScoredSnippet) -> None:
        """Measure it."""
        if self.measuring:
            self.after_end_s.append(time.time() - scored.at_unix_s)
            self.after_packet_s.append(scored.latency_s)
            self.compute_s.append(scored.compute_s)

    def on_state(self, status: FeedStatus) -> None:
        """Note who is there."""
        if status.state == "running":
            self.running.add(status.feed)
        self.num_dropped[status.feed] = status.num_dropped_snippets


def hold(bundle: Bundle, num_feeds: int, seconds: float) -> bool:
    """Watch so many feeds for so long; print how it went."""
    latencies = Latencies()
    with watched(bundle, [hd_video(60)] * num_feeds, latencies):
        while len(latencies.running) < num_feeds:
            time.sleep(0.1)
        time.sleep(WARM_UP_S)
        dropped_before = sum(latencies.num_dropped.values())
        latencies.measuring = True
        busy_before, began = busy_s(), time.monotonic()
        time.sleep(seconds)
        latencies.measuring = False
        elapsed_s = time.monotonic() - began
        cores = (busy_s() - busy_before) / elapsed_s
        dropped = sum(latencies.num_dropped.values()) - dropped_before
    hop_s = bundle.manifest.hop_s
    share = len(latencies.after_end_s) * hop_s / (elapsed_s * num_feeds)
    for name, values in (
        ("a snippet's end on the wall clock to its score", latencies.after_end_s),
        ("a snippet's last packet to its score", latencies.after_packet_s),
        ("the last packet that a score needs to the score", latencies.compute_s),
    ):
        p50, p95, longest = np.percentile(values, [50, 95, 100])
        print(f"  {name}: p50 {p50:.3f} s, p95 {p95:.3f} s, longest {longest:.3f} s")
    allowed_s = max(bundle.manifest.latency_s, hop_s) + ALLOWED_S
    holds = dropped == 0 and share > 0.98 and float(np.percentile(latencies.after_packet_s, 95)) <= allowed_s
    print(
        f"{num_feeds} feeds for {elapsed_s:.0f} s: {dropped} snippets dropped, {share:.1%} scored, "
        f"{cores:.2f} cores busy (senders and others included), at most {allowed_s:.2f} s allowed: "
        f"{'holds' if holds else 'does not hold'}",
        flush=True,
    )
    return holds


def busy_s() -> float:
    """Processor time of the whole machine."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def decoded_feeds() -> float:
    """How many feeds ffmpeg could decode in real time, one process per processor, at full speed."""
    num_processes = os.cpu_count() or 1
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(hd_video(60)), "-f", "null", "-"]
    began = time.monotonic()
    for process in [subprocess.Popen(command) for _ in range(num_processes)]:
        process.wait()
    return num_processes * 60.0 / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", type=int, nargs="+", default=[16])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    hd_video(60)
    ffmpeg = decoded_feeds()
    print(f"ffmpeg alone decodes {ffmpeg:.1f} feeds", flush=True)
    bundle = Bundle.load(device=arguments.device)
    held = [number for number in arguments.feeds if hold(bundle, number, arguments.seconds)]
    if held:
        print(f"most feeds that held / ffmpeg alone: {max(held) / ffmpeg:.2f}")


if __name__ == "__main__":
    main()
