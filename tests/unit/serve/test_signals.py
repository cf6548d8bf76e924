"""What signals tell a service, while it loads and when it runs, and what systemd is told, on a real socket."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avdetect.serve.signals import Order, Watchdog, notify, on_signals, orders_by_signal

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_to_stop_ends_the_loading_quietly(number: signal.Signals) -> None:
    steps = []
    with orders_by_signal():
        steps.append("begun")
        signal.raise_signal(number)
        steps.append("loaded")

    assert steps == ["begun"]


def test_what_is_told_while_it_loads_and_afterwards_is_obeyed_in_order() -> None:
    with orders_by_signal() as orders:
        signal.raise_signal(signal.SIGHUP)
        orders.obey_from_here(abort=lambda: None)
        signal.raise_signal(signal.SIGTERM)

        assert [orders.next(1.0) for _ in range(2)] == [Order.RELOAD, Order.STOP]
        assert orders.next(0.0) is None


def test_to_hang_up_is_an_order_even_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with orders_by_signal() as orders:
        signal.raise_signal(signal.SIGHUP)
        assert orders.next(1.0) is Order.RELOAD

    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_a_shell_ignores_for_its_background_jobs_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    taken: list[str] = []

    with on_signals({signal.SIGINT: lambda: taken.append("SIGINT")}):
        signal.raise_signal(signal.SIGINT)

    assert taken == []


def test_to_stop_twice_at_once_is_to_stop_once_and_later_again_to_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, aborted = 100.0, []
    monkeypatch.setattr("avdetect.serve.signals.time.monotonic", lambda: now_s)
    with orders_by_signal() as orders:
        orders.obey_from_here(abort=lambda: aborted.append(now_s))
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert (orders.next(0.0), orders.next(0.0), aborted) == (Order.STOP, None, [])

        now_s += 5.0
        signal.raise_signal(signal.SIGTERM)
    assert aborted == [105.0]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind(str(tmp_path / "notify"))
        received.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield received


def told(manager: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(100))
        except BlockingIOError:
            return messages


def test_the_manager_is_told_when_the_service_is_ready(manager: socket.socket) -> None:
    notify("READY=1")
    assert told(manager) == [b"READY=1"]


def test_an_abstract_socket_is_a_socket_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"avdetect-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind("\0" + name)
        received.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("STOPPING=1")
        assert received.recv(100) == b"STOPPING=1"


def test_a_manager_that_has_gone_does_not_disturb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")


def test_a_manager_that_does_not_read_holds_up_nobody(manager: socket.socket) -> None:
    for _ in range(1000):
        notify("WATCHDOG=1")
    assert 0 < len(told(manager)) < 1000


def test_an_engine_that_turns_feeds_the_watchdog_no_oftener_than_needed(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    watchdog = Watchdog()
    for _ in range(3):
        watchdog.on_turn()
    assert told(manager) == [b"WATCHDOG=1"]


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_nobody_asked_this_process_for_is_silent(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Watchdog().on_turn()
    assert told(manager) == []
