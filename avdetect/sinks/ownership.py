"""One writer at a time: a lock on a file, which ends with the process that holds it, on every system."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

__all__ = ["own"]


def own(lock: Path) -> BaseFileLock | None:
    """Hold ``lock`` until what is given back is released; ``None`` where somebody else holds it.

    Raises:
        OSError: the file cannot be made or is something else, or its file system has no locks.
    """
    if not lock.parent.is_dir():  # FileLock would make it
        raise NotADirectoryError(f"{lock.parent} is no folder")
    held = FileLock(lock, timeout=0, thread_local=False)  # it may be released in another thread
    try:
        held.acquire()
    except Timeout:
        return None
    except NotImplementedError as error:
        raise OSError(f"the file system of {lock} has no locks") from error
    return held
