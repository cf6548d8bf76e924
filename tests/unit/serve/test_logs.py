"""The service's log: one form for all lines, those of feeds' processes too."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime

import pytest

from avdetect.serve.config import LogSettings
from avdetect.serve.feeds.messages import Logged
from avdetect.serve.logs import LogRelay, configure_logging, relay_logs, write_relayed

LOG = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The log of this process is as it was before."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    threading.excepthook = hook


def test_every_line_is_a_json_object_without_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))

    LOG.warning("cannot open %s", "rtsp://me:hunter2@camera/1")
    write_relayed("door", Logged("avdetect.media", logging.WARNING, "its timestamps jump"))
    LOG.debug("nobody wants to know")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["message"] == "cannot open rtsp://***@camera/1"
    assert "feed" not in first
    assert (second["feed"], second["level"], second["logger"]) == ("door", "warning", "avdetect.media")
    assert second["message"] == "door: its timestamps jump"
    assert datetime.fromisoformat(second["time"]).tzinfo is not None


def test_what_a_feeds_process_logs_looks_like_all_else(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(level="warning"))

    write_relayed("door", Logged("avdetect.media", logging.WARNING, "its timestamps jump"))
    write_relayed("door", Logged("avdetect.media", logging.INFO, "all is well"))

    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("Z WARNING door: its timestamps jump")


def test_a_line_that_says_the_same_waits_and_is_counted() -> None:
    sent: list[Logged] = []
    relay = LogRelay(sent.append, interval_s=3600.0)

    def log(text: str, *args: object) -> None:
        relay.emit(logging.LogRecord("media", logging.WARNING, __file__, 1, text, args, None))

    for jump_s in (1.0, 2.0, 3.0):
        log("the timestamps jump by %+.2f s", jump_s)
    log("something else")
    relay._interval_s = 0.0
    log("the timestamps jump by %+.2f s", 4.0)

    assert [line.message for line in sent] == [
        "the timestamps jump by +1.00 s",
        "something else",
        "the timestamps jump by +4.00 s (the same 2 times more since the last such line)",
    ]


@pytest.mark.filterwarnings("default")
def test_warnings_and_errors_that_end_a_thread_are_relayed_without_credentials() -> None:
    sent: list[Logged] = []
    relay_logs(sent.append)

    def fail() -> None:
        raise ValueError("cannot read rtsp://me:hunter2@camera/1")

    thread = threading.Thread(target=fail, name="reader")
    thread.start()
    thread.join()
    warnings.warn("old", stacklevel=1)

    error, warning = sent
    assert error.level == logging.ERROR
    assert error.message.startswith("reader ended with an error\nTraceback ")
    assert error.message.endswith("ValueError: cannot read rtsp://***@camera/1\n")
    assert (warning.logger, "UserWarning: old" in warning.message) == ("py.warnings", True)
