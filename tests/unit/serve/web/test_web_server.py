"""Connections that say nothing, or do not listen, against the real server."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from avdetect.serve.web import app, server
from tests.synth.live_service import LiveService, live_service

WITHIN_S = 20.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveService]:
    with live_service(tmp_path) as service:
        service.add_feed("gate")
        yield service


@contextmanager
def enough_descriptors(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(service: LiveService, said: bytes = b"") -> socket.socket:
    address = urlsplit(service.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=WITHIN_S)
    connection.sendall(said.replace(b"HOST", address.netloc.encode()))
    return connection


def is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def answer_on(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(4096)
    return received


@pytest.mark.parametrize("said", [b"", b"GET /api/feeds HTTP/1.1\r\nHost: HOST\r\nX-Part"], ids=["nothing", "half"])
def test_520_idle_connections_keep_nobody_out(service: LiveService, said: bytes) -> None:
    with enough_descriptors(4096), ExitStack() as opened:
        for _ in range(520):
            opened.enter_context(connected(service, said))
        with httpx.Client(base_url=service.url, trust_env=False, timeout=WITHIN_S) as client:
            answers = [client.get(path).status_code for path in ("/healthz", "/readyz", "/", "/api/feeds")]

    assert answers == [200, 200, 200, 200]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /api/feeds HTTP/1.1\r\nHost: HOST\r\nX-Part",
        b"POST /api/session HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_connection_that_does_not_finish_its_request_is_closed_in_time(
    service: LiveService, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN_S", 0.3)
    with connected(service, said) as connection:
        assert is_closed(connection)


def test_a_byte_now_and_then_does_not_keep_a_connection_open(
    service: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN_S", 0.5)
    until = time.monotonic() + WITHIN_S
    with connected(service, b"GET / HTTP/1.1\r\nX-Slow: ") as connection:
        while time.monotonic() < until:
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.05)
    pytest.fail("the connection was never closed")


def test_a_second_request_on_the_same_connection_has_its_time_too(
    service: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_WITHIN_S", 0.5)
    request = b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
    with connected(service, request) as connection:
        assert b"alive" in answer_on(connection)
        time.sleep(1.0)  # idle after an answer, as browsers are: uvicorn waits for some seconds
        connection.sendall(request.replace(b"HOST", urlsplit(service.url).netloc.encode()))
        assert b"alive" in answer_on(connection)
        connection.sendall(b"GET /hea")
        assert is_closed(connection)


def test_a_client_that_leaves_a_clip_unread_is_dropped(service: LiveService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACCEPT_WITHIN_S", 0.3)
    size = 64_000_000
    with (service.clips_folder / "a.mp4").open("wb") as clip:
        clip.truncate(size)
    with connected(service, b"GET /clips/a.mp4 HTTP/1.1\r\nHost: HOST\r\n\r\n") as connection:
        time.sleep(1.5)
        num_bytes = 0
        try:
            while part := connection.recv(1 << 20):
                num_bytes += len(part)
        except OSError:
            pass

    assert num_bytes < size


def test_too_many_requests_at_once_leave_room_for_the_probes(
    service: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MAX_REQUESTS", 2)
    with ExitStack() as following, httpx.Client(base_url=service.url, trust_env=False, timeout=WITHIN_S) as client:
        for _ in range(2):
            following.enter_context(client.stream("GET", "/api/stream"))
        refused, health = client.get("/api/feeds"), client.get("/healthz")

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert health.status_code == 200
