"""One writer at a time: a lock on a file, which ends with the process that holds it, on every system."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def own(lock: Path) -> sqlite3.Connection | None:
    """Hold ``lock`` until what is given back is closed; ``None`` where another process holds it.

    Raises:
        sqlite3.Error: the file cannot be made or is something else.
    """
    connection = sqlite3.connect(lock, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return None
    return connection
