"""A service in compressed trouble: does it leak, lose events, deliver them out of order, or forget a gap?

Sources end, stall, send damaged media and refuse every few seconds; feed processes are killed; the broker and the web
hook are down a third of the time. In the end everything comes back, the service is stopped, and what it kept is
compared with what was done to it and with what the broker and the web hook got. Exits with 1 where anything is wrong.

python benchmarks/soak.py [--seconds 3600] [--feeds 4] [--seed 0]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from live import free_port
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from support import DEMO, ffmpeg, media_folder

from avdetect.serve.store import Store

STALL_TIMEOUT_S = 2.0
UP_S, DOWN_S = 6.0, 3.0
"""Of the broker and the web hook."""
KILL_EVERY_S = 12.0
SAMPLE_EVERY_S = 2.0
SETTLE_S = 15.0
"""Without trouble, at the end."""
NOTICED_WITHIN_S = 2 * STALL_TIMEOUT_S + 4.0
WARM_UP = 0.2
"""Part of the time in which memory may grow."""
MAX_GROWTH = 0.02
JUDGED_FROM_S = 600.0
"""Memory of a shorter run has not settled."""

SERVICE = """\
[model]
device = "cpu"
[store]
folder = "kept"
[clips]
pre_roll_s = 1
post_roll_s = 1
[web]
enabled = false
[log]
format = "json"
[sinks.broker]
type = "mqtt"
host = "127.0.0.1"
port = {broker}
[sinks.hook]
type = "webhook"
url = "http://127.0.0.1:{hook}/"
"""
FEED = """
[feeds.{name}]
url = "tcp://127.0.0.1:{port}"
threshold = 0.4
merge_gap_s = 0
open_timeout_s = {timeout}
stall_timeout_s = {timeout}
max_backoff_s = 1
"""


@dataclass(frozen=True)
class Loss:
    """A feed that was seen has been taken away."""

    feed: str
    unix_s: float
    how: str


class Source:
    """Sends a stretch of MPEG-TS at its speed to whoever connects, in one way of trouble after the other."""

    def __init__(self, name: str, data: bytes, duration_s: float, seed: int) -> None:
        self.name = name
        self.losses: list[Loss] = []
        self.troubled = True
        self._data = data
        self._duration_s = duration_s
        self._random = random.Random(seed)
        source = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    source.play(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def play(self, connection: Any) -> None:
        """One connection."""
        how = self._random.choice(["end", "stall", "damage", "refuse", "garbage"]) if self.troubled else "end"
        if how == "refuse":
            return
        if how == "garbage":
            connection.sendall(self._random.randbytes(100_000))
            return
        packets = [self._data[at : at + 188] for at in range(0, len(self._data), 188)]
        wanted = packets if not self.troubled else packets[: self._random.randint(len(packets) // 2, len(packets))]
        began_s = time.monotonic()
        for number, packet in enumerate(wanted):
            if how == "damage" and self._random.random() < 0.02:
                packet = self._random.randbytes(188)
            connection.sendall(packet)
            time.sleep(max(began_s + number * self._duration_s / len(packets) - time.monotonic(), 0.0))
        self.losses.append(Loss(self.name, time.time(), how))
        if how == "stall":
            time.sleep(STALL_TIMEOUT_S * 2)


class Hook:
    """A web hook that is there two thirds of the time; keeps what it has accepted."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.up = True
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.up:
                    hook.reports.append(json.loads(body))
                self.send_response(200 if hook.up else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Broker:
    """A mosquitto that is there two thirds of the time, and a subscriber that keeps what came."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.reports: list[dict[str, Any]] = []
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="soak", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe("avdetect/events", qos=1)
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", self.port)
        self._client.loop_start()

    def start(self) -> None:
        """Come back, with what was queued."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen([program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Go away."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def close(self) -> None:
        """For good."""
        self._client.loop_stop()
        self.stop()

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.reports.append(json.loads(message.payload))


@dataclass(frozen=True)
class Sample:
    """What the service's own process holds at one moment."""

    at_s: float
    memory_mb: float
    num_threads: int
    num_descriptors: int
    num_children: int


def sample(pid: int, at_s: float) -> Sample:
    """Linux only."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Sample(
        at_s,
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        len(list((process / "task").iterdir())),
        len(list((process / "fd").iterdir())),
        len(feed_processes(pid)),
    )


def feed_processes(pid: int) -> list[int]:
    """Those that watch feeds: forked from the server that the service has started."""
    found = []
    for child in children_of(pid):
        with suppress(OSError):
            if b"multiprocessing.forkserver" in Path(f"/proc/{child}/cmdline").read_bytes():
                found += children_of(child)
    return found


def children_of(pid: int) -> list[int]:
    """Of a process that is there; none of one that is not."""
    with suppress(OSError):
        return [
            int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    return []


@contextmanager
def trouble(service: int, broker: Broker, hook: Hook, chance: random.Random) -> Iterator[list[int]]:
    """Receivers that come and go, and processes that are killed; the list of those grows."""
    killed: list[int] = []
    over = threading.Event()

    def receivers() -> None:
        while not over.wait(UP_S):
            broker.stop()
            hook.up = False
            over.wait(DOWN_S)
            hook.up = True
            broker.start()

    def killer() -> None:
        while not over.wait(KILL_EVERY_S):
            processes = feed_processes(service)
            if processes:
                killed.append(chance.choice(processes))
                with suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    threads = [threading.Thread(target=target) for target in (receivers, killer)]
    for thread in threads:
        thread.start()
    try:
        yield killed
    finally:
        over.set()
        for thread in threads:
            thread.join()


def mistakes_of_delivery(name: str, reports: Sequence[dict[str, Any]], event_ids: set[str]) -> list[str]:
    """Of one sink; a report that comes twice is none."""
    numbers = [int(report["key"].rpartition("/")[2]) for report in reports]
    first = list(dict.fromkeys(numbers))
    closed = {report["id"] for report in reports if report["kind"] == "event" and report["stage"] == "closed"}
    mistakes = []
    if first != sorted(first):
        mistakes.append(f"{name}: reports came out of order")
    if event_ids - closed:
        mistakes.append(f"{name}: {len(event_ids - closed)} of {len(event_ids)} events were lost")
    print(f"{name}: {len(numbers)} reports, {len(numbers) - len(first)} of them repeated, {len(closed)} events")
    return mistakes


def mistakes_of_gaps(losses: Sequence[Loss], num_killed: int, store: Store) -> list[str]:
    """Every loss lies in a gap, and every gap has ended."""
    gaps = store.gaps(limit=10**6)
    unnoticed = [
        loss
        for loss in losses
        if not any(
            gap.feed == loss.feed
            and gap.started_at.timestamp() <= loss.unix_s + NOTICED_WITHIN_S
            and (gap.ended_at is None or gap.ended_at.timestamp() >= loss.unix_s - 1.0)
            for gap in gaps
        )
    ]
    num_crashes = sum(gap.reason == "crashed" for gap in gaps)
    print(
        f"{len(gaps)} gaps for {len(losses)} losses and {num_killed} killed processes, {num_crashes} said to be those"
    )
    mistakes = [f"no gap for {loss}" for loss in unnoticed]
    if any(gap.ended_at is None for gap in gaps):
        mistakes.append("a gap has no end")
    return mistakes


def mistakes_of_resources(samples: Sequence[Sample], seconds: float) -> list[str]:
    """What has grown."""
    settled = [one for one in samples if one.at_s >= WARM_UP * seconds]
    third = max(len(settled) // 3, 1)
    early, late = settled[:third], settled[-third:]
    early_mb, late_mb = (statistics.median(one.memory_mb for one in part) for part in (early, late))
    growth = late_mb / early_mb - 1
    print(f"memory: {early_mb:.0f} MB after warm-up, {late_mb:.0f} MB at the end ({growth:+.1%})")
    mistakes = []
    if seconds >= JUDGED_FROM_S and growth > MAX_GROWTH:
        mistakes.append(f"memory grew by {growth:.1%}")
    for name in ("num_threads", "num_descriptors"):
        before, after = (max(getattr(one, name) for one in part) for part in (early, late))
        print(f"{name}: at most {before} after warm-up, {after} at the end")
        if seconds >= JUDGED_FROM_S and after > before:
            mistakes.append(f"{name} grew from {before} to {after}")
    return mistakes


def shots() -> tuple[bytes, float]:
    """MPEG-TS with shots, small, and how long it is."""
    file = media_folder() / "soak.ts"
    if not file.exists():
        ffmpeg("-ss", "6", "-t", "5", "-i", str(DEMO), "-c:v", "libx264", "-g", "12", "-c:a", "aac", target=file)
    return file.read_bytes(), 5.0


def soak(seconds: float, num_feeds: int, seed: int, folder: Path) -> list[str]:
    """Run it; what was wrong."""
    data, duration_s = shots()
    sources = [Source(f"feed-{number}", data, duration_s, seed + number) for number in range(num_feeds)]
    hook, samples = Hook(), []
    with ExitStack() as opened:
        broker = Broker(folder)
        opened.callback(broker.close)
        config = folder / "service.toml"
        feeds = [FEED.format(name=source.name, port=source.port, timeout=STALL_TIMEOUT_S) for source in sources]
        config.write_text(SERVICE.format(broker=broker.port, hook=hook.port) + "".join(feeds))
        log = opened.enter_context((folder / "log.jsonl").open("w"))
        service = opened.enter_context(
            subprocess.Popen([sys.executable, "-m", "avdetect_cli", "serve", config], stderr=log)
        )
        opened.callback(service.kill)
        began_s = time.monotonic()
        with trouble(service.pid, broker, hook, random.Random(seed)) as killed:
            while (elapsed_s := time.monotonic() - began_s) < seconds and service.poll() is None:
                samples.append(sample(service.pid, elapsed_s))
                time.sleep(SAMPLE_EVERY_S)
        for source in sources:
            source.troubled = False
        time.sleep(SETTLE_S)
        losses = list(itertools.chain.from_iterable(source.losses for source in sources))
        service.send_signal(signal.SIGTERM)
        exit_code = service.wait(60)
        time.sleep(1.0)  # the broker's last messages
    with Store(folder / "kept" / "events.sqlite3") as store:
        events = store.events(limit=10**6)
        event_ids = {event.id for event in events}
        mistakes = mistakes_of_gaps(losses, len(killed), store)
        waiting = store.backlog()
    if exit_code != 0:
        mistakes.append(f"the service ended with {exit_code}")
    if waiting:
        mistakes.append(f"reports still wait: {waiting}")
    if not events or any(event.stage != "closed" for event in events):
        mistakes.append("there is no event, or one that is still open")
    mistakes += mistakes_of_delivery("web hook", hook.reports, event_ids)
    mistakes += mistakes_of_delivery("broker", broker.reports, event_ids)
    return mistakes + mistakes_of_resources(samples, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--feeds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the service's log and store")
    arguments = parser.parse_args()
    with ExitStack() as opened:
        folder = arguments.keep or Path(opened.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        mistakes = soak(arguments.seconds, arguments.feeds, arguments.seed, folder)
    for mistake in mistakes:
        print(f"WRONG: {mistake}")
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
