"""What systemd is told, on a real socket as it makes them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avdetect.serve.systemd import Watchdog, notify


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
