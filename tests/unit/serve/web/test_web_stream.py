"""The stream of changes over a real connection."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from avdetect.serve.web import events_stream
from tests.synth.live_service import LiveService, live_service, make_event

WITHIN_S = 90.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveService]:
    with live_service(tmp_path) as service:
        service.add_feed("gate")
        yield service


@contextmanager
def followed(service: LiveService) -> Iterator[Iterator[tuple[str, Any]]]:
    """The messages of one client, as they come."""
    timeout = httpx.Timeout(WITHIN_S)
    with (
        httpx.Client(base_url=service.url, trust_env=False, timeout=timeout) as client,
        client.stream("GET", "/api/stream") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _messages(answer.iter_lines())


def _messages(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    for line in lines:
        if line.startswith("event: "):
            yield line.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


def test_a_client_first_hears_how_all_feeds_are(service: LiveService) -> None:
    with followed(service) as messages:
        kind, body = next(messages)

    assert kind == "feeds"
    assert [feed["feed"] for feed in body["feeds"]] == ["gate"]
    assert {"name": "glass", "title": "Breaking glass"} in body["classes"]
    assert body["now"] == pytest.approx(time.time(), abs=WITHIN_S)


def test_an_answer_is_told_to_all(service: LiveService) -> None:
    service.store.record_event(make_event("a"))
    with followed(service) as messages:
        next(messages)
        httpx.put(f"{service.url}/api/events/a/answer", json={"answer": "confirmed"}, trust_env=False)

        assert next(messages) == ("answer", {"feed": "gate", "id": "a", "answer": "confirmed"})


def test_what_happens_is_told_at_once_and_in_order(service: LiveService) -> None:
    with followed(service) as messages:
        next(messages)
        service.score("gate", 0.25)
        service.report(make_event("a", stage="opened"))
        service.report(make_event("a"))
        heard = [next(messages) for _ in range(3)]

    assert [kind for kind, _ in heard] == ["score", "event", "event"]
    assert heard[0][1]["feed"] == "gate"
    assert heard[0][1]["fused"] == [0.25] * len(service.state.classes)
    assert [body["stage"] for _, body in heard[1:]] == ["opened", "closed"]


def test_all_feeds_are_told_again_and_again(service: LiveService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_stream, "FEEDS_EVERY_S", 0.05)
    with followed(service) as messages:
        first = next(messages)[1]
        service.add_feed("yard")
        until = time.monotonic() + WITHIN_S
        names: list[str] = []
        while "yard" not in names and time.monotonic() < until:
            kind, body = next(messages)
            names = [feed["feed"] for feed in body["feeds"]] if kind == "feeds" else names

    assert names == ["gate", "yard"]
    assert body["service"] == first["service"]


def test_a_client_that_reads_nothing_is_dropped(
    service: LiveService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events_stream, "MAX_STREAMS", 1)
    monkeypatch.setattr(events_stream, "SLOW_CLIENT_S", 0.2)
    address = urlsplit(service.url)
    with socket.socket() as deaf, httpx.Client(base_url=service.url, trust_env=False) as other:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((address.hostname, address.port))
        deaf.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        deaf.recv(64)
        assert other.get("/api/stream").status_code == 503

        until = time.monotonic() + WITHIN_S
        while True:
            for _ in range(500):
                service.score("gate", 0.123)
            with other.stream("GET", "/api/stream") as answer:
                if answer.status_code == 200:
                    break
            assert time.monotonic() < until, "the client that reads nothing was never dropped"
            time.sleep(0.02)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_client_that_leaves_makes_room(service: LiveService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_stream, "MAX_STREAMS", 1)
    for _ in range(3):
        until = time.monotonic() + WITHIN_S
        while True:
            with (
                httpx.Client(base_url=service.url, trust_env=False) as client,
                client.stream("GET", "/api/stream") as answer,
            ):
                if answer.status_code == 200:
                    break
            assert time.monotonic() < until, "a client that left is still counted"
            time.sleep(0.02)


def test_the_server_stops_while_somebody_listens(tmp_path: Path) -> None:
    with ExitStack() as listening:
        with live_service(tmp_path) as service:
            messages = listening.enter_context(followed(service))
            next(messages)
            began_s = time.monotonic()
        took_s = time.monotonic() - began_s

        assert list(messages) == []  # a clean end, or httpx would complain
    assert took_s < 30
