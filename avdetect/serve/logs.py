"""The service's log: on standard error, as text or as JSON lines, without credentials."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from avdetect.redaction import redacted
from avdetect.serve.config import LogSettings
from avdetect.serve.log_relay import log_strays

__all__ = ["configure_logging"]


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
