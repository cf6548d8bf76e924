"""A feed's process: what reaches it, what comes of it, and that it ends."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.feeds.messages import FromFeed, Stop, StretchBegan, StretchEnded
from avdetect.serve.feeds.supervisor import Exited, FeedAddress, FeedProcess, FeedTarget
from tests.unit.serve.feeds import children

DEADLINE_S = 180.0
Inbox = queue.SimpleQueue[FromFeed | Exited]


@contextmanager
def process(target: FeedTarget, url: str = "") -> Iterator[tuple[FeedProcess, Inbox]]:
    inbox: Inbox = queue.SimpleQueue()
    manifest = read_manifest(default_bundle_path())
    running = FeedProcess("door", FeedAddress(url, LiveOptions()), manifest, target, inbox.put)
    try:
        yield running, inbox
    finally:
        running.kill()
        running.close()


def test_standard_input_reaches_it() -> None:
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.write(writing, b"some media")
    try:
        with process(children.echo_standard_input, "-") as (_, inbox):
            message = inbox.get(timeout=DEADLINE_S)
    finally:
        os.dup2(kept, 0)
        for descriptor in (reading, writing, kept):
            os.close(descriptor)

    assert isinstance(message, StretchEnded)
    assert message.message == "some media"


def test_its_exit_code_is_told_last() -> None:
    with process(children.echo_standard_input) as (_, inbox):
        assert isinstance(inbox.get(timeout=DEADLINE_S), StretchEnded)
        assert inbox.get(timeout=DEADLINE_S) == Exited(0)


def test_being_killed_is_an_exit_too() -> None:
    with process(children.hang) as (running, inbox):
        assert isinstance(inbox.get(timeout=DEADLINE_S), StretchBegan)
        running.kill()
        assert inbox.get(timeout=DEADLINE_S) == Exited(-signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_its_parent_s_to_answer(number: signal.Signals) -> None:
    with process(children.wait_for_stop) as (running, inbox):
        assert isinstance(inbox.get(timeout=DEADLINE_S), StretchBegan)
        assert running.pid is not None
        os.kill(running.pid, number)
        running.send(Stop())
        assert isinstance(inbox.get(timeout=DEADLINE_S), StretchEnded)
        assert inbox.get(timeout=DEADLINE_S) == Exited(0)


def test_nobody_minds_a_message_to_one_that_is_gone() -> None:
    with process(children.echo_standard_input) as (running, inbox):
        while inbox.get(timeout=DEADLINE_S) != Exited(0):
            pass
        running.send(Stop())


ORPHAN = f"""
import time
from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle_files import read_manifest, default_bundle_path
from avdetect.serve.feeds.supervisor import FeedAddress, FeedProcess
from tests.unit.serve.feeds.children import hang

if __name__ == "__main__":
    address = FeedAddress("", LiveOptions())
    process = FeedProcess("orphan", address, read_manifest(default_bundle_path()), hang, lambda _: None)
    print(process.pid, flush=True)
    time.sleep({DEADLINE_S})
"""


def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    deadline_s = time.monotonic() + DEADLINE_S
    while is_alive(child) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
