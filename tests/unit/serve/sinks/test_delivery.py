"""The dispatcher, with sinks of which the test decides when they fail."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from avdetect.serve.sinks import FileSettings, open_sink
from avdetect.serve.sinks.base import Delivery, DeliveryError, StatelessSink
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.store import Store
from tests.synth.brokers import wait_until
from tests.synth.reports import an_event

FAST = {"first_retry_s": 0.001, "max_retry_s": 0.01}


class Receiver(StatelessSink):
    """Keeps what it takes; ``before`` may refuse."""

    def __init__(self, name: str = "hook", before: Callable[[Delivery], None] = lambda delivery: None) -> None:
        super().__init__(name)
        self.before = before
        self.taken: list[Delivery] = []
        self.closed = False
        self.told: list[object] = []

    def announce(self, feeds: Mapping[str, Sequence[str]], active: Collection[tuple[str, str]]) -> None:
        self.told.append((feeds, active))

    def status(self, feed: str, online: bool) -> None:
        self.told.append((feed, online))

    def deliver(self, delivery: Delivery) -> None:
        self.before(delivery)
        self.taken.append(delivery)

    def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        return [delivery.payload["id"] for delivery in self.taken]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "events.db") as store:
        yield store


def record(store: Store, num: int, *sinks: str) -> list[str]:
    events = [an_event() for _ in range(num)]
    for event in events:
        store.record_event(event, sinks)
    return [event.id for event in events]


def test_what_was_recorded_before_and_after_the_start_is_delivered_in_order(store: Store) -> None:
    before = record(store, 3, "hook")
    receiver = Receiver()
    with Dispatcher(store, [receiver]) as dispatcher:
        after = record(store, 3, "hook")
        dispatcher.wake()

        assert dispatcher.drain(10) == 0
        assert receiver.ids == before + after
        assert dispatcher.backlog() == {"hook": 0}
    assert receiver.closed


def test_a_sink_that_fails_gets_everything_in_order_when_it_is_back(store: Store) -> None:
    ids = record(store, 5, "hook")
    num_attempts = 0

    def fail_twice_each_time(delivery: Delivery) -> None:
        nonlocal num_attempts
        num_attempts += 1
        if num_attempts % 3:
            raise DeliveryError("not now")

    receiver = Receiver(before=fail_twice_each_time)
    with Dispatcher(store, [receiver], **FAST) as dispatcher:
        wait_until(lambda: not dispatcher.backlog()["hook"])

    assert receiver.ids == ids
    assert num_attempts == 15


def test_a_sink_that_is_down_does_not_hold_up_another(store: Store) -> None:
    ids = record(store, 3, "hook", "mqtt")

    def fail(delivery: Delivery) -> None:
        raise DeliveryError("down")

    healthy = Receiver("mqtt")
    with Dispatcher(store, [Receiver("hook", fail), healthy], **FAST) as dispatcher:
        wait_until(lambda: healthy.ids == ids)

        assert dispatcher.drain(0.1) == 3
    assert store.backlog() == {"hook": 3}


def test_a_report_that_is_refused_for_good_does_not_hold_up_those_behind_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = record(store, 3, "hook")

    def refuse(delivery: Delivery) -> None:
        if delivery.payload["id"] == second:
            raise DeliveryError("http://user:hunter2@host answered 404", permanent=True)

    receiver = Receiver(before=refuse)
    with Dispatcher(store, [receiver]) as dispatcher:
        assert dispatcher.drain(10) == 0

    assert receiver.ids == [first, third]
    assert store.refused() == {"hook": 1}
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "answered 404" in caplog.text
    assert "hunter2" not in caplog.text


def test_many_failures_are_few_lines_of_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    record(store, 1, "hook")
    num_attempts = 0

    def fail_often(delivery: Delivery) -> None:
        nonlocal num_attempts
        num_attempts += 1
        if num_attempts <= 50:
            raise DeliveryError("rtsp://user:hunter2@host is down")

    with Dispatcher(store, [Receiver(before=fail_often)], **FAST) as dispatcher:
        wait_until(lambda: not dispatcher.backlog()["hook"])

    fails, works = caplog.messages
    assert fails == "sink hook fails, it is tried again: rtsp://***@host is down"
    assert works.startswith("sink hook works again")


def test_a_mistake_in_a_sink_does_not_end_the_deliveries(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    ids = record(store, 2, "hook")
    failed = threading.Event()

    def stumble(delivery: Delivery) -> None:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError("oops")

    receiver = Receiver(before=stumble)
    with Dispatcher(store, [receiver], **FAST) as dispatcher:
        wait_until(lambda: not dispatcher.backlog()["hook"])

    assert receiver.ids == ids
    assert "ZeroDivisionError: oops" in caplog.text


def test_a_waiting_time_that_the_receiver_asked_for_is_kept_whatever_else_comes_in(store: Store) -> None:
    record(store, 1, "hook")
    attempts_s: list[float] = []

    def ask_for_a_while(delivery: Delivery) -> None:
        attempts_s.append(time.monotonic())
        if len(attempts_s) == 1:
            raise DeliveryError("busy", retry_after_s=0.3)

    with Dispatcher(store, [Receiver(before=ask_for_a_while)], **FAST) as dispatcher:
        wait_until(lambda: attempts_s)
        dispatcher.wake()
        wait_until(lambda: not dispatcher.backlog()["hook"])

    first_s, second_s = attempts_s
    assert second_s - first_s >= 0.3


def test_the_end_of_the_program_cuts_a_waiting_time_short(store: Store) -> None:
    record(store, 1, "hook")
    asked = threading.Event()

    def ask_for_an_hour(delivery: Delivery) -> None:
        if not asked.is_set():
            asked.set()
            raise DeliveryError("busy", retry_after_s=3600)

    with Dispatcher(store, [Receiver(before=ask_for_an_hour)], **FAST) as dispatcher:
        assert asked.wait(10)

        assert dispatcher.drain(10) == 0


def test_closing_does_not_wait_for_a_backoff(store: Store) -> None:
    record(store, 1, "hook")
    asked = threading.Event()

    def ask_for_an_hour(delivery: Delivery) -> None:
        asked.set()
        raise DeliveryError("busy", retry_after_s=3600)

    dispatcher = Dispatcher(store, [Receiver(before=ask_for_an_hour)])
    assert asked.wait(10)
    dispatcher.close()

    assert not dispatcher._workers[0]._thread.is_alive()


def test_what_was_not_delivered_is_delivered_by_the_next_run_under_the_same_key(tmp_path: Path) -> None:
    keys: list[str] = []

    def fail(delivery: Delivery) -> None:
        keys.append(delivery.key)
        raise DeliveryError("down", retry_after_s=3600)

    with Store(tmp_path / "events.db") as store:
        record(store, 1, "hook")
        with Dispatcher(store, [Receiver(before=fail)]):
            wait_until(lambda: keys)
    receiver = Receiver()
    with Store(tmp_path / "events.db") as store, Dispatcher(store, [receiver]) as dispatcher:
        assert dispatcher.drain(10) == 0

    assert [delivery.key for delivery in receiver.taken] == keys


def test_what_waits_for_a_sink_that_is_not_configured_any_more_is_given_up(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    record(store, 2, "hook", "old")
    receiver = Receiver()
    with Dispatcher(store, [receiver]) as dispatcher:
        assert dispatcher.drain(10) == 0

    assert len(receiver.taken) == 2
    assert store.backlog() == {}
    assert "as their sinks are not configured any more: 2" in caplog.text


def test_a_report_that_was_overtaken_while_the_sink_was_down_knows_it(store: Store) -> None:
    event = an_event()
    store.record_event(event, ["hook"])
    closed = threading.Event()
    seen = threading.Event()

    def fail_until_closed(delivery: Delivery) -> None:
        if not closed.is_set():
            seen.set()
            raise DeliveryError("down")

    receiver = Receiver(before=fail_until_closed)
    with Dispatcher(store, [receiver], **FAST) as dispatcher:
        assert seen.wait(10)
        store.record_event(replace(event, stage="closed"), ["hook"])
        closed.set()
        assert dispatcher.drain(10) == 0

    assert [(delivery.payload["stage"], delivery.superseded) for delivery in receiver.taken][-1] == ("closed", False)
    assert receiver.taken[0].superseded


SERVICE = """
    import sys
    from pathlib import Path
    from avdetect.serve.sinks.delivery import Dispatcher
    from avdetect.serve.sinks import FileSettings, open_sink
    from avdetect.serve.store import Store
    from tests.synth.reports import an_event

    sink = open_sink("log", FileSettings(path=sys.argv[2]))
    with Store(Path(sys.argv[1])) as store, Dispatcher(store, [sink]) as dispatcher:
        while True:
            event = an_event()
            store.record_event(event, ["log"])
            dispatcher.wake()
            print(event.id, flush=True)
"""


def test_everything_is_delivered_in_order_and_at_least_once_by_services_that_are_killed(tmp_path: Path) -> None:
    database, log = tmp_path / "events.db", tmp_path / "events.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(SERVICE), str(database), str(log)]
    reported: list[str] = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) as process:
            assert process.stdout is not None
            reported += [process.stdout.readline().strip() for _ in range(20)]
            process.kill()
            reported += process.stdout.read().split()
    with Store(database) as store, Dispatcher(store, [open_sink("log", FileSettings(path=str(log)))]) as dispatcher:
        assert dispatcher.drain(20) == 0
        recorded = [event.id for event in reversed(store.events(limit=100_000))]

    keys = [document["key"] for document in map(json.loads, log.read_text().splitlines())]
    arrived = [key.partition("/")[0] for key in dict.fromkeys(keys)]
    assert arrived == recorded
    assert set(reported) <= set(arrived)
    assert len(keys) <= len(arrived) + 2  # once more what was under way when a service was killed


def test_the_sinks_are_told_of_feeds_and_of_what_is_going_on(store: Store) -> None:
    store.record_event(an_event("yard", "gunshot"))
    receiver = Receiver()
    with Dispatcher(store, [receiver]) as dispatcher:
        dispatcher.announce({"yard": ["gunshot", "scream"]})
        dispatcher.status("yard", True)

    assert receiver.told == [({"yard": ["gunshot", "scream"]}, {("yard", "gunshot")}), ("yard", True)]


def test_a_sink_is_replaced_while_another_goes_on_and_what_waited_for_a_removed_one_is_given_up(store: Store) -> None:
    stays, goes, removed, comes = Receiver("stays"), Receiver("hook"), Receiver("phone"), Receiver("hook")

    def hang(delivery: Delivery) -> None:
        raise DeliveryError("down")

    goes.before = removed.before = hang
    [waiting] = record(store, 1, "stays", "hook", "phone")
    with Dispatcher(store, [stays, goes, removed], **FAST) as dispatcher:
        wait_until(lambda: stays.taken)
        dispatcher.replace(["hook", "phone"], [comes])
        assert (stays.closed, goes.closed, removed.closed) == (False, True, True)
        [later] = record(store, 1, "stays", "hook")
        dispatcher.wake()

        assert dispatcher.drain(10) == 0
        assert dispatcher.backlog().keys() == {"stays", "hook"}
    assert (stays.ids, comes.ids) == ([waiting, later], [waiting, later])
    assert store.refused() == {"phone": 1}


def test_attempts_are_counted(store: Store) -> None:
    counts: list[str] = []

    class Observer:
        def count_delivered(self, sink: str) -> None:
            counts.append(f"{sink} delivered")

        def count_failed(self, sink: str) -> None:
            counts.append(f"{sink} failed")

    record(store, 1, "hook")
    failed = threading.Event()

    def fail_once(delivery: Delivery) -> None:
        if not failed.is_set():
            failed.set()
            raise DeliveryError("down")

    with Dispatcher(store, [Receiver(before=fail_once)], **FAST, observer=Observer()) as dispatcher:
        assert dispatcher.drain(10) == 0

    assert counts == ["hook failed", "hook delivered"]
