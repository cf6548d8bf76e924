"""Receivers of reports that come and go: a real mosquitto, and a web server that fails when told to."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.synth.programs import MOSQUITTO


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Until it holds; fails where it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


class Mosquitto:
    """A broker on a port of its own that can be killed and started again; what it has acknowledged, it keeps."""

    def __init__(self, folder: Path, *, options: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{options}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"user root\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_until(self._listens)

    def stop(self) -> None:
        """As a service manager does."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        self._process = None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto ended"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.stop()


class Subscriber:
    """Takes all that is published below a topic; with a ``client_id`` also what came while it was away."""

    def __init__(self, port: int, topic: str = "#", *, client_id: str = "subscriber") -> None:
        self.messages: list[tuple[str, str, bool]] = []
        """Topic, text, and whether it was retained."""
        self._subscribed = threading.Event()
        self._topic = topic
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not client_id)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda *_: self._client.subscribe(self._topic, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._keep
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def on(self, topic: str) -> list[str]:
        """Texts that came on a topic, in order."""
        return [text for name, text, _ in list(self.messages) if name == topic]

    def documents(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.on(topic)]

    def publish(self, topic: str, text: str) -> None:
        """Say something oneself."""
        self._client.publish(topic, text, 1).wait_for_publish(10)

    def _keep(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        self.messages.append((message.topic, message.payload.decode(), message.retain))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def retained(port: int) -> dict[str, str]:
    """What a broker keeps, by topic."""
    with Subscriber(port, client_id="") as late:
        # Retained messages come before the answer to this one.
        late._client.publish("end/of/retained", "", 1)
        wait_until(lambda: late.on("end/of/retained"))
        return {topic: text for topic, text, kept in late.messages if kept}


@dataclass(frozen=True)
class Request:
    """What a web server was sent."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class WebServer:
    """Answers every POST with what ``answer`` says: a status, and headers."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], tuple[int, dict[str, str]]] = lambda request: (204, {})
        owner = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers), body)
                owner.requests.append(request)
                status, headers = owner.answer(request)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def web_server(port: int = 0) -> Iterator[WebServer]:
    server = WebServer(port)
    try:
        yield server
    finally:
        server.close()
