"""What signals tell a service, while it loads and when it runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from avdetect.serve.signals import Order, on_signals, orders_by_signal

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
