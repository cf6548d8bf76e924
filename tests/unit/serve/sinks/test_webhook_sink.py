"""Against a real web server, which fails when the test wants it to."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from avdetect.errors import UsageError
from avdetect.serve.sinks import Delivery, DeliveryError, Sink, WebhookSettings, open_sink
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.sinks.webhook import is_signed, signature
from avdetect.serve.store import Store
from tests.synth.brokers import Request, WebServer, free_port, wait_until, web_server
from tests.synth.reports import an_event

REPORT = Delivery(seq=7, key="abc/opened/7", kind="event", payload=an_event().as_dict())


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def hook(url: str, **settings: Any) -> Sink:
    return open_sink("hook", WebhookSettings.model_validate({"url": url, **settings}))


def refusal(sink: Sink) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sink.deliver(REPORT)
    sink.close()
    return caught.value


def test_a_report_is_posted_as_json_with_its_key(server: WebServer) -> None:
    sink = hook(f"{server.url}/in", headers={"Authorization": "Bearer x"})
    sink.deliver(REPORT)
    sink.close()

    (request,) = server.requests
    assert request.path == "/in"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == REPORT.key
    assert request.headers["Authorization"] == "Bearer x"
    assert request.document == {"kind": "event", "key": REPORT.key, **REPORT.payload}
    assert "X-Avdetect-Signature" not in request.headers


def test_a_receiver_can_tell_that_a_request_is_ours_unchanged_and_fresh(server: WebServer) -> None:
    sink = hook(server.url, secret="hunter2")
    sink.deliver(REPORT)
    sink.close()

    (request,) = server.requests
    header, now_s = request.headers["X-Avdetect-Signature"], time.time()
    assert is_signed(request.body, header, "hunter2", now_s)
    assert not is_signed(request.body, header, "hunter3", now_s)
    assert not is_signed(request.body.replace(b"yard", b"door"), header, "hunter2", now_s)
    assert not is_signed(request.body, header, "hunter2", now_s + 301)
    assert not is_signed(request.body, header.replace("t=", "t=1"), "hunter2", now_s)


@pytest.mark.parametrize("header", ["", "t=,v1=", "t=x,v1=00", "t=" + "9" * 5000, "v1=00", "t=\u0661,v1=00"])
def test_a_header_that_is_no_signature_is_not_one(header: str) -> None:
    assert not is_signed(b"{}", header, "hunter2", 1.0)


def test_a_signature_is_what_is_documented() -> None:
    # echo -n '12.{}' | openssl dgst -sha256 -hmac hunter2
    expected = "f017f7ea0778fa670c8b2ce6ccce881f96c3a6e6c40e834c309d405b5ebe5657"
    assert signature(b"{}", "hunter2", 12) == f"t=12,v1={expected}"


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *((status, True) for status in (400, 401, 404, 410, 422)),
        *((status, False) for status in (302, 408, 425, 429, 500, 502, 503)),
    ],
)
def test_only_a_refusal_that_will_not_change_is_permanent(server: WebServer, status: int, permanent: bool) -> None:
    server.answer = lambda request: (status, {"Location": "/elsewhere"})

    error = refusal(hook(server.url))

    assert (error.permanent, error.retry_after_s) == (permanent, None)
    assert str(error).startswith(f"127.0.0.1 answered {status}")


WILD = ["3601", "99999999", "9" * 400, "soon", "-5", "1e3", "nan", "0", "Fri, 31 Dec 9999 23:59:59 GMT"]
WILD += ["Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 01 Jan 1990 00:00:00 GMT", "\xb2"]


@pytest.mark.parametrize("value", WILD)
def test_a_wild_time_to_try_again_at_is_ignored(server: WebServer, value: str) -> None:
    server.answer = lambda request: (503, {"Retry-After": value})

    assert refusal(hook(server.url)).retry_after_s is None


@pytest.mark.parametrize(("value", "seconds"), [("12", 12), ("3600", 3600)])
def test_the_time_that_a_receiver_asks_for_is_passed_on(server: WebServer, value: str, seconds: float | None) -> None:
    server.answer = lambda request: (503, {"Retry-After": value})

    assert refusal(hook(server.url)).retry_after_s == seconds


def test_a_date_to_try_again_at_is_passed_on(server: WebServer) -> None:
    server.answer = lambda request: (503, {"Retry-After": formatdate(time.time() + 60, usegmt=True)})

    assert refusal(hook(server.url)).retry_after_s == pytest.approx(60, abs=3)


def test_a_receiver_that_is_not_there_is_a_failure_that_passes() -> None:
    error = refusal(hook(f"http://127.0.0.1:{free_port()}/secret-path"))

    assert not error.permanent
    assert "127.0.0.1" in str(error)
    assert "secret-path" not in str(error)


def test_a_receiver_that_does_not_answer_is_given_up_in_time(server: WebServer) -> None:
    def sleep(request: Request) -> tuple[int, dict[str, str]]:
        time.sleep(1.0)
        return 204, {}

    server.answer = sleep
    error = refusal(hook(server.url, timeout_s=0.1))

    assert not error.permanent
    assert "timed out" in str(error)


def test_the_url_is_in_no_log(server: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sink = hook(server.url.replace("://", "://user:hunter2@") + "/hunter3?token=hunter4", secret="hunter5")
    sink.deliver(REPORT)
    sink.close()

    assert len(server.requests) == 1
    assert "hunter" not in caplog.text
    assert "hunter" not in repr(WebhookSettings.model_validate({"url": server.url + "/hunter3", "secret": "hunter5"}))


@pytest.mark.parametrize("url", ["ftp://host/", "host/path", "http://", "http://[::1"])
def test_a_url_that_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="sink hook: its URL"):
        hook(url)


def test_a_header_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(UsageError, match="sink hook: a header"):
        hook("http://127.0.0.1/", headers={"X-Name": "\u2603"})


def test_a_server_that_fails_on_and_off_gets_every_report_in_order(tmp_path: Path) -> None:
    """It is also away altogether for a while."""
    num_requests = 0

    def on_and_off(request: Request) -> tuple[int, dict[str, str]]:
        nonlocal num_requests
        num_requests += 1
        return (204, {}) if num_requests % 3 == 0 else (503, {"Retry-After": "0"})

    taken: list[str] = []
    ids: list[str] = []
    port = free_port()
    with Store(tmp_path / "events.db") as store:
        sink = hook(f"http://127.0.0.1:{port}/", secret="hunter2")
        with Dispatcher(store, [sink], first_retry_s=0.01, max_retry_s=0.05) as dispatcher:
            for _ in range(2):
                with web_server(port) as server:
                    server.answer = on_and_off
                    for _ in range(8):
                        event = an_event()
                        store.record_event(event, ["hook"])
                        dispatcher.wake()
                        ids.append(event.id)
                    wait_until(lambda: dispatcher.backlog()["hook"] == 0)
                    requests = server.requests
                taken += [request.document["id"] for request in requests]
                event = an_event()
                store.record_event(event, ["hook"])  # while nobody listens
                ids.append(event.id)
            with web_server(port) as server:
                assert dispatcher.drain(10) == 0
            taken += [request.document["id"] for request in server.requests]

    assert list(dict.fromkeys(taken)) == ids
