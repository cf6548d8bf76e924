"""A service in compressed trouble: does it leak, lose events, deliver them out of order, or forget a gap?

Sources end, stall, send damaged media and refuse every few seconds; feed processes are killed, all but the oldest,
whose memory is watched like the service's own; the broker and the web hook are down a third of the time. In the end
everything comes back, the service is stopped, and what it kept is compared with what was done to it and with what the
broker and the web hook got. Exits with 1 where anything is wrong. The machine may be paused meanwhile.

python benchmarks/soak.py [--seconds 3600] [--feeds 4] [--seed 0]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from live import Mosquitto
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
STARTS_WITHIN_S = STOPS_WITHIN_S = 60.0
NOTICED_WITHIN_S = 2 * STALL_TIMEOUT_S + 4.0
WARM_UP = 0.2
"""Part of the time in which memory may grow."""
STEP_S = 0.5
SHOTS_AFTER_S = 3.5
"""What was played for so long has an event in it."""
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
threshold = 0.1
merge_gap_s = 0
open_timeout_s = {timeout}
stall_timeout_s = {timeout}
max_backoff_s = 1
"""


def pause(seconds: float) -> None:
    """Sleep; time for which everything is stopped from outside does not count."""
    for _ in range(math.ceil(seconds / STEP_S)):
        time.sleep(STEP_S)


def wait_for(condition: Callable[[], bool], within_s: float) -> None:
    """Until it is met, or the time is over."""
    for _ in range(round(within_s / STEP_S)):
        if condition():
            return
        pause(STEP_S)


@dataclass(frozen=True)
class Loss:
    """A feed that was seen has been taken away."""

    feed: str
    began_unix_s: float
    unix_s: float
    planned_s: float
    """How long it was to be seen."""
    how: str

    @property
    def noticed_by_unix_s(self) -> float:
        """Until it is noticed, the last snippets wait for more: they are lost with the process."""
        return self.unix_s + STALL_TIMEOUT_S + 1.0

    @property
    def has_event(self) -> bool:
        """Whether there is an event in it for certain."""
        is_on_time = self.unix_s - self.began_unix_s < self.planned_s + 1.0  # or else everything was stopped
        return self.how in ("end", "stall") and self.planned_s >= SHOTS_AFTER_S and is_on_time


@dataclass(frozen=True)
class Restart:
    """The service has noticed that a feed's process is gone."""

    feed: str
    unix_s: float


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
        began_s, began_unix_s = time.monotonic(), time.time()
        for number, packet in enumerate(wanted):
            if how == "damage" and self._random.random() < 0.02:
                packet = self._random.randbytes(188)
            connection.sendall(packet)
            time.sleep(max(began_s + number * self._duration_s / len(packets) - time.monotonic(), 0.0))
        planned_s = len(wanted) * self._duration_s / len(packets)
        self.losses.append(Loss(self.name, began_unix_s, time.time(), planned_s, how))
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


class Subscriber:
    """Keeps what a broker sends it, also what came while either was away."""

    def __init__(self, port: int) -> None:
        self.reports: list[dict[str, Any]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="soak", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe("avdetect/events", qos=1)
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Take no more."""
        self._client.loop_stop()

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.reports.append(json.loads(message.payload))


@dataclass(frozen=True)
class Usage:
    """What a process holds at one moment."""

    memory_mb: float
    num_threads: int
    num_descriptors: int


@dataclass(frozen=True)
class Sample:
    """The service and its oldest feed at one moment."""

    at_s: float
    num_feeds: int
    service: Usage
    feed_pid: int
    feed: Usage


def sample(pid: int, at_s: float) -> Sample | None:
    """Linux only; ``None`` while no feed is watched."""
    with suppress(OSError):
        feeds = feed_processes(pid)
        if feeds:
            return Sample(at_s, len(feeds), usage(pid), feeds[0], usage(feeds[0]))
    return None


def usage(pid: int) -> Usage:
    """Of a process that is there."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Usage(
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        len(list((process / "task").iterdir())),
        len(list((process / "fd").iterdir())),
    )


def feed_processes(pid: int) -> list[int]:
    """Those that watch feeds, the oldest first: forked from the server that the service has started."""
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


def runs(pid: int) -> bool:
    """Whether it is there, and not only waits for somebody to ask how it ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def trouble(service: int, broker: Mosquitto, hook: Hook, chance: random.Random) -> Iterator[list[int]]:
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
            processes = feed_processes(service)[1:]
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


def mistakes_of_delivery(
    name: str, reports: Sequence[dict[str, Any]], event_ids: set[str], num_gaps: int | None
) -> list[str]:
    """Of one sink; a report that comes twice is none."""
    numbers = [int(report["key"].rpartition("/")[2]) for report in reports]
    first = list(dict.fromkeys(numbers))
    closed = {report["id"] for report in reports if report["kind"] == "event" and report["stage"] == "closed"}
    ended = {
        (report["feed"], report["started_at"]) for report in reports if report["kind"] == "gap" and report["ended_at"]
    }
    mistakes = []
    if first != sorted(first):
        mistakes.append(f"{name}: reports came out of order")
    if event_ids - closed:
        mistakes.append(f"{name}: {len(event_ids - closed)} of {len(event_ids)} events were lost")
    if num_gaps is not None and len(ended) != num_gaps:
        mistakes.append(f"{name}: {len(ended)} gaps of {num_gaps} came")
    print(f"{name}: {len(numbers)} reports, {len(numbers) - len(first)} of them repeated, {len(closed)} events")
    return mistakes


def mistakes_of_gaps(losses: Sequence[Loss], num_killed: int, restarts: Sequence[Restart], store: Store) -> list[str]:
    """Every loss and every killed process lies in a gap, and every gap has ended."""
    gaps = store.gaps(limit=10**6)

    def is_known(feed: str, unix_s: float) -> bool:
        return any(
            gap.feed == feed
            and gap.started_at.timestamp() <= unix_s + NOTICED_WITHIN_S
            and (gap.ended_at is None or gap.ended_at.timestamp() >= unix_s - 1.0)
            for gap in gaps
        )

    mistakes = [f"no gap for {loss}" for loss in losses if not is_known(loss.feed, loss.unix_s)]
    mistakes += [f"no gap for {restart}" for restart in restarts if not is_known(restart.feed, restart.unix_s)]
    if len(restarts) < num_killed:
        mistakes.append(f"of {num_killed} killed processes {len(restarts)} were started again")
    if any(gap.ended_at is None for gap in gaps):
        mistakes.append("a gap has no end")
    print(f"{len(gaps)} gaps for {len(losses)} losses and {num_killed} killed processes")
    return mistakes


def mistakes_of_events(losses: Sequence[Loss], restarts: Sequence[Restart], store: Store) -> list[str]:
    """Every stretch with shots that was seen undisturbed has an event, and all events are closed."""
    events = store.events(limit=10**6)
    gaps = [gap for gap in store.gaps(limit=10**6) if gap.reason in ("dropped", "hung")]

    def is_disturbed(loss: Loss) -> bool:
        return any(
            # Until a stall is noticed, the last snippets wait for more.
            restart.feed == loss.feed
            and loss.began_unix_s - 1.0 <= restart.unix_s <= loss.unix_s + STALL_TIMEOUT_S + 1.0
            for restart in restarts
        ) or any(
            gap.feed == loss.feed
            and gap.started_at.timestamp() <= loss.unix_s
            and (gap.ended_at is None or gap.ended_at.timestamp() >= loss.began_unix_s)
            for gap in gaps
        )

    certain = [loss for loss in losses if loss.has_event and not is_disturbed(loss)]
    unseen = [
        loss
        for loss in certain
        if not any(
            event.feed == loss.feed and loss.began_unix_s - 1.5 <= event.started_at.timestamp() <= loss.unix_s
            for event in events
        )
    ]
    print(f"{len(events)} events; of {len(certain)} stretches that have one for certain {len(unseen)} have none")
    mistakes = [f"no event in {loss}" for loss in unseen]
    if not certain or not events or any(event.stage != "closed" for event in events):
        mistakes.append("there is no event, or one that is still open")
    return mistakes


def restarts_in(log: Path) -> list[Restart]:
    """What the service's log says of processes that it had to start again."""
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [
        Restart(entry["feed"], datetime.fromisoformat(entry["time"]).timestamp())
        for entry in entries
        if entry["message"].endswith(": restarting")
    ]


def mistakes_of_resources(samples: Sequence[Sample], seconds: float) -> list[str]:
    """What has grown, of the service and of the feed whose process has lasted longest."""
    settled = [one for one in samples if one.at_s >= WARM_UP * seconds]
    if not settled:
        return ["no feed was watched"]
    pid = statistics.mode(one.feed_pid for one in settled)
    num_feeds = max(one.num_feeds for one in settled)
    service = [one.service for one in settled if one.num_feeds == num_feeds]
    feed = [one.feed for one in settled if one.feed_pid == pid]
    feed = feed[round(WARM_UP * len(feed)) :]  # it may have begun late
    is_judged = seconds >= JUDGED_FROM_S
    return growth("the service", service, is_judged) + growth("a feed", feed, is_judged)


def growth(name: str, used: Sequence[Usage], is_judged: bool) -> list[str]:
    """Of a process, from the first third of what was seen of it to the last."""
    third = max(len(used) // 3, 1)
    early, late = used[:third], used[-third:]
    early_mb, late_mb = (statistics.median(one.memory_mb for one in part) for part in (early, late))
    mistakes = []
    print(f"{name}: {early_mb:.1f} MB after warm-up, {late_mb:.1f} MB at the end ({late_mb / early_mb - 1:+.1%})")
    if late_mb > early_mb * (1 + MAX_GROWTH):
        mistakes.append(f"the memory of {name} grew by {late_mb / early_mb - 1:.1%}")
    for what in ("num_threads", "num_descriptors"):
        # What comes and goes is no leak: neither what a delivery opens nor what a feed that just begins has not yet.
        before, after = (statistics.median_low(getattr(one, what) for one in part) for part in (early, late))
        print(f"{name}: {what} {before} after warm-up, {after} at the end")
        if after > before:
            mistakes.append(f"{what} of {name} grew from {before} to {after}")
    return mistakes if is_judged else []


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
        broker = Mosquitto(folder)
        opened.callback(broker.stop)
        subscriber = Subscriber(broker.port)
        opened.callback(subscriber.close)
        config = folder / "service.toml"
        feeds = [FEED.format(name=source.name, port=source.port, timeout=STALL_TIMEOUT_S) for source in sources]
        config.write_text(SERVICE.format(broker=broker.port, hook=hook.port) + "".join(feeds))
        log = opened.enter_context((folder / "log.jsonl").open("w"))
        service = opened.enter_context(
            subprocess.Popen([sys.executable, "-m", "avdetect_cli", "serve", config], stderr=log)
        )
        opened.callback(service.kill)
        wait_for(lambda: service.poll() is not None or len(feed_processes(service.pid)) == num_feeds, STARTS_WITHIN_S)
        with trouble(service.pid, broker, hook, random.Random(seed)) as killed:
            for turn in range(math.ceil(seconds / SAMPLE_EVERY_S)):
                samples.append(sample(service.pid, turn * SAMPLE_EVERY_S))
                if service.poll() is not None:
                    break
                pause(SAMPLE_EVERY_S)
        for source in sources:
            source.troubled = False
        pause(SETTLE_S)
        losses = list(itertools.chain.from_iterable(source.losses for source in sources))
        helpers = [*children_of(service.pid), *feed_processes(service.pid)]
        service.send_signal(signal.SIGTERM)
        wait_for(lambda: service.poll() is not None, STOPS_WITHIN_S)
        exit_code = service.poll()
        pause(2.0)  # the broker's last messages, and helpers that end with the service
    restarts = restarts_in(folder / "log.jsonl")
    with Store(folder / "kept" / "events.sqlite3") as store:
        mistakes = mistakes_of_gaps(losses, len(killed), restarts, store)
        mistakes += mistakes_of_events(losses, restarts, store)
        waiting, num_gaps = store.backlog(), len(store.gaps(limit=10**6))
        event_ids = {event.id for event in store.events(limit=10**6)}
    if exit_code != 0:
        mistakes.append(f"the service ended with {exit_code}")
    if waiting:
        mistakes.append(f"reports still wait: {waiting}")
    left = [pid for pid in helpers if runs(pid)]
    if left:
        mistakes.append(f"processes were left behind: {left}")
    mistakes += mistakes_of_delivery("web hook", hook.reports, event_ids, num_gaps)
    mistakes += mistakes_of_delivery("broker", subscriber.reports, event_ids, None)
    return mistakes + mistakes_of_resources([one for one in samples if one is not None], seconds)


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
