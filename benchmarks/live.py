"""What the benchmarks of live feeds share: senders, and the engine beside them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.engine import Engine
from avdetect.serve.feeds.listener import EngineListener
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker that can go away and come back with what it had queued."""

    def __init__(self, folder: Path) -> None:
        """Start it on a free port; ``folder`` is for its settings and its queues."""
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
        )
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen([program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """As a service manager does."""
        self._process.terminate()
        self._process.wait()

    def wait(self) -> None:
        """Until it listens."""
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)


@contextmanager
def sender(file: Path) -> Iterator[str]:
    """Plays a file with ffmpeg again and again, at its speed, as MPEG-TS over TCP; the URL to connect to."""
    port = free_port()
    command = ["ffmpeg", "-v", "fatal", "-nostdin", "-re", "-stream_loop", "-1", "-i", str(file), "-c", "copy"]
    process = subprocess.Popen(
        [*command, "-f", "mpegts", f"tcp://127.0.0.1:{port}?listen=1"], stderr=subprocess.DEVNULL
    )
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def watched(bundle: Bundle, files: Sequence[Path], listener: EngineListener) -> Iterator[None]:
    """An engine that watches a sender for each of ``files``."""
    engine = Engine(bundle, listener)
    rules = tuple(entry.rule for entry in bundle.manifest.classes)
    with ExitStack() as opened:
        for number, file in enumerate(files):
            url = opened.enter_context(sender(file))
            engine.add(FeedSpec(f"feed-{number}", FeedAddress(url, LiveOptions()), rules))
        thread = threading.Thread(target=engine.run)
        thread.start()
        opened.callback(thread.join)
        opened.callback(engine.stop)
        yield
