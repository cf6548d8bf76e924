"""Making room: old events, their clips, and files that belong to no event any more."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from avdetect.errors import OutputError
from avdetect.serve.store.store import Prunable, Store

__all__ = ["Pruned", "prune"]

_LOG = logging.getLogger(__name__)
_BATCH = 50
"""Events per transaction."""
_OURS = re.compile(r"\.?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b.*")
"""Clips and thumbnails are named after their event's UUID, unfinished ones with a dot before it; no other file is
touched."""
_ORPHAN_AGE_S = 3600.0
"""A clip is written before the store learns of it. What nobody claimed for so long was left by a crash."""


@dataclass(slots=True)
class Pruned:
    """What was deleted."""

    num_events: int = 0
    num_undelivered_events: int = 0
    """Of these, how many a sink had still to get something of."""
    num_gaps: int = 0
    num_score_blocks: int = 0
    """Minutes of scores."""
    num_orphans: int = 0
    """Files that belonged to no event."""


def prune(
    store: Store,
    clips_folder: Path,
    *,
    now: datetime,
    max_age: timedelta | None = None,
    max_bytes: int | None = None,
    scores_max_age: timedelta | None = None,
) -> Pruned:
    """Delete what is too old, then what is too much.

    Age takes closed events and gaps that ended more than ``max_age`` ago, but none that a sink has still to get, and
    none that the operator confirmed or dismissed: those are the labels of the next training. Scores have an age of
    their own. Size takes the oldest scores, then the oldest
    closed events, and the gaps before them, until clips, thumbnails and the store's rows fit into ``max_bytes``: first
    events without an answer, then those with one, and those that were not delivered only when nothing else is left. An
    open event always stays.

    A row goes before its files, so that no event points to a clip that is gone.

    Raises:
        OutputError: files in the folder cannot be deleted; no event was, then.
        StoreError: the store cannot be written.
    """
    folder = _Folder(clips_folder)
    pruned = Pruned()
    if max_age is not None:
        while batch := store.expired(now - max_age, _BATCH):
            _delete(store, folder, batch, pruned)
        pruned.num_gaps += store.forget_gaps(now - max_age)
    pruned.num_orphans = folder.delete_orphans(store.files(), now.timestamp() - _ORPHAN_AGE_S)
    if scores_max_age is not None:
        pruned.num_score_blocks += store.forget_scores(ended_before=now - scores_max_age)
    if max_bytes is not None:
        _shrink_to(max_bytes, store, folder, now, pruned)
    store.shrink()
    if pruned.num_undelivered_events:
        _LOG.warning("the store is full: events deleted before all sinks had them: %d", pruned.num_undelivered_events)
    return pruned


def _shrink_to(max_bytes: int, store: Store, folder: _Folder, now: datetime, pruned: Pruned) -> None:
    while (excess := folder.size_bytes() + store.size_bytes() - max_bytes) > 0:
        if num_blocks := store.forget_scores(oldest=_BATCH):  # of all that is kept the easiest to come by again
            pruned.num_score_blocks += num_blocks
            continue
        batch = _enough(store.most_dispensable(_BATCH), folder, excess)
        if not batch:
            pruned.num_gaps += store.forget_gaps(now, undelivered=True)
            return
        _delete(store, folder, batch, pruned)
        if not batch[-1].undelivered:
            pruned.num_gaps += store.forget_gaps(batch[-1].ended_at)


def _enough(events: Sequence[Prunable], folder: _Folder, num_bytes: int) -> list[Prunable]:
    """As many of them, from the first on, as have files of that size."""
    chosen: list[Prunable] = []
    for event in events:
        if num_bytes <= 0:
            break
        chosen.append(event)
        num_bytes -= sum(folder.sizes.get(name, 0) for name in event.files)
    return chosen


def _delete(store: Store, folder: _Folder, events: Sequence[Prunable], pruned: Pruned) -> None:
    store.forget_events([event.id for event in events])
    for event in events:
        for name in event.files:
            folder.delete(name)
    pruned.num_events += len(events)
    pruned.num_undelivered_events += sum(event.undelivered for event in events)


class _Folder:
    """The files of ours in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sizes: dict[str, int] = {}
        self._changed_unix_s: dict[str, float] = {}
        if not path.exists():
            return
        try:
            self._look()
        except OSError as error:
            raise OutputError(f"cannot look for old clips in {path}: {error.strerror or error}.") from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise OutputError(f"cannot delete old clips in {path}: its permissions forbid it.")

    def _look(self) -> None:
        for path in self._path.iterdir():
            if not _OURS.fullmatch(path.name):
                continue
            with suppress(FileNotFoundError):  # renamed meanwhile, as unfinished files are
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    self.sizes[path.name] = status.st_size
                    self._changed_unix_s[path.name] = status.st_mtime

    def size_bytes(self) -> int:
        return sum(self.sizes.values())

    def delete(self, name: str) -> None:
        if self.sizes.pop(name, None) is None:
            return
        try:
            (self._path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot delete {self._path / name}: {error.strerror or error}.") from error

    def delete_orphans(self, claimed: set[str], before_unix_s: float) -> int:
        """Those that nobody claims and that were not written to since."""
        orphans = [name for name in self.sizes.keys() - claimed if self._changed_unix_s[name] < before_unix_s]
        for name in orphans:
            self.delete(name)
        return len(orphans)
