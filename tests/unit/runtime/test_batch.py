from __future__ import annotations

import signal
import threading
import time

import pytest

from avdetect.errors import MediaError
from avdetect.runtime.batch import Cancelled, FailedSource, attempt, in_order

SOURCES = [str(number) for number in range(8)]


@pytest.mark.parametrize("jobs", [1, 3, 20])
def test_findings_come_in_the_order_of_their_sources(jobs: int) -> None:
    def work(source: str) -> FailedSource:
        time.sleep(0.005 * (8 - int(source)))  # the first takes longest
        return FailedSource(source, "")

    found = list(in_order(SOURCES, work, FailedSource, jobs=jobs, cancel=threading.Event()))

    assert [finding.source for finding in found] == SOURCES


def test_as_many_run_at_once_as_there_are_jobs() -> None:
    together = threading.Barrier(4, timeout=120)

    def work(source: str) -> FailedSource:
        together.wait()
        return FailedSource(source, "")

    assert all(
        finding.error == "" for finding in in_order(SOURCES, work, FailedSource, jobs=4, cancel=threading.Event())
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_source_that_fails_does_not_stop_the_others(jobs: int) -> None:
    def work(source: str) -> FailedSource:
        if source == "3":
            raise MediaError("3 is bad.")
        return FailedSource(source, "")

    found = list(in_order(SOURCES, work, FailedSource, jobs=jobs, cancel=threading.Event()))

    assert [finding.error for finding in found] == ["", "", "", "3 is bad.", "", "", "", ""]


def test_a_bug_that_one_source_brings_out_is_called_one() -> None:
    def work(source: str) -> FailedSource:
        raise ZeroDivisionError("division by zero")

    found = attempt(work, FailedSource, "a.mp4")

    assert found.error.startswith("a.mp4: internal error (ZeroDivisionError: division by zero)")


def test_an_interrupted_batch_hands_over_what_was_finished_and_stops_the_rest() -> None:
    cancel = threading.Event()
    second_is_done = threading.Event()
    given: list[str] = []

    def work(source: str) -> FailedSource:
        if source == "0":  # still busy when the user interrupts
            if not second_is_done.wait(10) or not cancel.wait(10):
                raise MediaError("never interrupted")
            raise Cancelled
        second_is_done.set()
        return FailedSource(source, "")

    findings = in_order(SOURCES[:2], work, FailedSource, jobs=2, cancel=cancel)

    def interrupt() -> None:
        second_is_done.wait(10)
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it, as Ctrl-C does

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        given.extend(finding.source for finding in findings)

    assert given == ["1"]
    assert cancel.is_set()
