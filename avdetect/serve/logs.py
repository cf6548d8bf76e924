"""The service's log: on standard error, as text or as JSON lines, without credentials, with the lines of its feeds."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from avdetect.redaction import redacted
from avdetect.serve.feeds.messages import Logged

if TYPE_CHECKING:
    from avdetect.serve.config import LogSettings

__all__ = ["LogRelay", "configure_logging", "log_strays", "relay_logs", "write_relayed"]


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - the library's
        return _time(record)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        feed = getattr(record, "feed", None)
        if feed is not None:
            entry["feed"] = feed
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(entry)


def configure_logging(settings: LogSettings) -> None:
    """Let all loggers of this process write to standard error; may be called again with other settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if settings.format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    log_strays()
    logging.getLogger("uvicorn").setLevel(max(root.level, logging.WARNING))  # tells of every start and end


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_INTERVAL_S = 60.0
"""Between two lines that say the same with other figures."""
_MAX_KINDS = 200
"""Of lines that are remembered."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kind:
    sent_s: float = -math.inf
    num_withheld: int = 0


class LogRelay(logging.Handler):
    """Hands log lines on, without credentials; a line that says the same as one before waits, and is counted.

    Args:
        send: takes a line; must not block.
        interval_s: how long lines of a kind are withheld after one was sent.
    """

    def __init__(self, send: Callable[[Logged], None], *, interval_s: float = _INTERVAL_S) -> None:
        super().__init__()
        self._send = send
        self._interval_s = interval_s
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on, unless it has to wait."""
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        kind = self._kinds.setdefault((record.name, str(record.msg)), _Kind())
        now_s = time.monotonic()
        if now_s < kind.sent_s + self._interval_s:
            kind.num_withheld += 1
            return
        text = record.getMessage()
        if kind.num_withheld:
            text += f" (the same {kind.num_withheld} times more since the last such line)"
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
        kind.sent_s, kind.num_withheld = now_s, 0
        self._send(Logged(record.name, record.levelno, redacted(text)))


def relay_logs(send: Callable[[Logged], None]) -> None:
    """From here on, all that this process logs is handed to ``send``."""
    root = logging.getLogger()
    root.handlers[:] = [LogRelay(send)]
    root.setLevel(logging.INFO)
    log_strays()


def log_strays() -> None:
    """Warnings, and errors that end a thread, go to the log of this process and not past it."""
    logging.captureWarnings(True)
    threading.excepthook = _log_uncaught


def write_relayed(feed: str, logged: Logged) -> None:
    """Log what the process of a feed has logged."""
    logging.getLogger(logged.logger).log(logged.level, "%s: %s", feed, logged.message, extra={"feed": feed})


def _log_uncaught(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        name = failed.thread.name if failed.thread is not None else "a thread"
        _LOG.error("%s ended with an error", name, exc_info=failed.exc_value)
