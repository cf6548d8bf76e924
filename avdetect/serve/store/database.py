"""An SQLite file for one writing program: what is committed survives a crash and a power cut."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock

from avdetect.errors import StoreError
from avdetect.serve.store.schema import check_version, migrate
from avdetect.sinks.ownership import own

__all__ = ["Database"]

_BUSY_TIMEOUT_S = 10.0
"""Only for a reader in another process, while SQLite ends or begins its write-ahead log."""
_VACUUM_PAGES = 256
"""Of 4 KiB, usually."""
_JOURNAL_LIMIT_BYTES = 16 * 1024 * 1024
"""To which the write-ahead log is cut after a burst."""


class Database:
    """One connection to write, for one thread at a time, and one for each reader: nobody waits for readers.

    ``synchronous=FULL`` makes a commit in WAL mode wait until the log is on the disk. With ``NORMAL`` a power cut would
    undo the last commits, and an event that a sink has got would be unknown afterwards.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file; create it, or bring its schema up to date, unless ``read_only``.

        Raises:
            StoreError: it cannot be opened, is another program's, is of a newer version, or is in use.
        """
        self.path = path
        self._write_lock = threading.Lock()
        self._idle_lock = threading.Lock()
        self._idle_readers: list[sqlite3.Connection] = []
        self._closed = False
        self._owned: BaseFileLock | None = None
        self._writer: sqlite3.Connection | None = None
        try:
            with _explained(path):
                if read_only:
                    self._require_current_version()
                else:
                    self._owned = _own(path)
                    self._writer = self._open_writer()
                self._idle_readers.append(_reader(path))
        except BaseException:
            self.close()
            raise

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing.

        Args:
            durable: return only when it would survive a power cut. Without that it survives a crash of the program.

        Raises:
            StoreError: the disk is full or fails, or the database is open for reading only.
        """
        with self._write_lock, _explained(self.path):
            writer = self._open_for_writing()
            writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself, as it does when the disk is full
                    writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The last committed state.

        Raises:
            StoreError: the disk fails.
        """
        with self._idle_lock:
            if self._closed:
                raise StoreError(f"{self.path} has been closed.")
            idle = self._idle_readers.pop() if self._idle_readers else None
        with _explained(self.path):
            connection = idle or _reader(self.path)
            try:
                yield connection
            finally:
                with self._idle_lock:
                    if self._closed:
                        connection.close()
                    else:
                        self._idle_readers.append(connection)

    def size_bytes(self) -> int:
        """What the rows take, without free pages and the write-ahead log."""
        with self.reading() as connection:
            (num_pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        return int(page_bytes) * (int(num_pages) - self._num_free_pages())

    def shrink(self) -> None:
        """Give free pages back to the disk, a few at a time, so that nobody waits for long to write.

        Raises:
            StoreError: the disk fails, or the database is open for reading only.
        """
        num_free = self._num_free_pages()
        while num_free > 0:
            with self._write_lock, _explained(self.path):
                # ``execute`` would free one page and stop.
                self._open_for_writing().executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
            num_before, num_free = num_free, self._num_free_pages()
            if num_free >= num_before:  # others free them as fast
                break
        with self._write_lock, _explained(self.path):
            # Only when the log has been worked into it does the file become smaller.
            self._open_for_writing().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        with self._idle_lock:
            self._closed = True
            for reader in self._idle_readers:
                reader.close()
            self._idle_readers.clear()
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
            if self._owned is not None:
                self._owned.release()

    def _open_for_writing(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StoreError(f"{self.path} is open for reading only.")
        return self._writer

    def _num_free_pages(self) -> int:
        with self.reading() as connection:
            (num_free,) = connection.execute("PRAGMA freelist_count").fetchone()
        return int(num_free)

    def _require_current_version(self) -> None:
        if not self.path.exists():
            raise StoreError(f"there is no store at {self.path}.")
        connection = _connect(self.path)
        try:
            if not check_version(connection, self.path):
                raise StoreError(f"{self.path} was written by an older avdetect; run `avdetect serve` on it once.")
        finally:
            connection.close()

    def _open_writer(self) -> sqlite3.Connection:
        connection = _connect(self.path)
        try:
            check_version(connection, self.path)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect before the first table only
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA fullfsync = ON")  # macOS: its fsync does not reach the disk
            connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _own(path: Path) -> BaseFileLock:
    """Keep other programs from writing to ``path``."""
    try:
        lock = own(path.with_name(f"{path.name}.lock"))
    except OSError as error:
        raise StoreError(f"cannot use the store {path}: {error.strerror or error}.") from error
    if lock is None:
        raise StoreError(f"{path} is in use by another avdetect; stop that one, or name another file.")
    return lock


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors, with the file they are about."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            message = f"{path} is damaged or not a store ({error}); move it away, and a new one will be made."
        else:
            message = f"cannot use the store {path}: {error}."
        raise StoreError(message) from error
