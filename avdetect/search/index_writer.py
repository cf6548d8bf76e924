"""Adds recordings to an index of sound, and drops them; ``index.py`` says what lies where."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from avdetect.errors import OutputError, SoundIndexError
from avdetect.files import kind_of, replacing, why_not_written
from avdetect.search.catalogue import (
    CATALOGUE_NAME,
    DATA_TYPE,
    Catalogue,
    Entry,
    Maker,
    Stamp,
    check_data,
    data_paths,
    located,
    made_by_another,
    read_catalogue,
    stored_path,
)
from avdetect.search.corpus import marked_salience
from avdetect.sinks.ownership import own
from avdetect.text.scoring import SoundTrace

_LOCK_NAME = "lock"
_DATA_PATTERNS = ("vectors-*.f32", "salience-*.f32")
_SAVED_EVERY_S = 10.0
"""Longest time whose work an index may lose when the machine stops."""


class IndexWriter:
    """An index, to be added to, by one process at a time; a context manager, which saves it however it is left.

    Args:
        folder: made where there is none.
        maker: what hears; it must be what heard what is there.
        fresh: begin anew, whatever is there.

    Raises:
        SoundIndexError: it is damaged, in use or made by another alignment.
        OutputError: it cannot be written, or is something else than an index.
    """

    def __init__(self, folder: Path, maker: Maker, *, fresh: bool = False) -> None:
        self.folder = folder
        self._maker = maker
        self._entries: dict[str, Entry] = {}
        self._generation = 0
        self._data: list[BinaryIO] = []
        self._num_rows = 0
        self._saved = time.monotonic()
        with _disk_trouble(folder):
            _make(folder)
            lock = own(folder / _LOCK_NAME)
            if lock is None:
                raise SoundIndexError(
                    f"{folder} is being written by another avdetect: wait for it, or name another place with -o."
                )
            self._lock = lock
            try:
                self._begin(fresh=fresh)
            except BaseException:
                lock.release()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.save()
            if self._num_rows > 2 * sum(entry.num_snippets for entry in self._entries.values()):
                self._write_anew()
                self.save()
            self._remove_other_generations()
        finally:
            for file in self._data:
                file.close()
            self._lock.release()

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self._entries)

    def holds(self, source: str, stamp: Stamp) -> bool:
        """Tell whether ``source`` was heard in its present state."""
        entry = self._entries.get(stored_path(source, self.folder))
        return entry is not None and entry.stamp == stamp

    def add(self, source: str, stamp: Stamp, trace: SoundTrace, end_s: float) -> None:
        """Take what ``source`` left behind, in place of what it left behind before.

        Raises:
            OutputError: it cannot be written.
        """
        path = stored_path(source, self.folder)
        self._entries.pop(path, None)
        rows = (trace.vectors.astype(DATA_TYPE), marked_salience(trace).astype(DATA_TYPE))
        self._append(path, stamp, len(trace.present), end_s, (rows[0].tobytes(), rows[1].tobytes()))
        if time.monotonic() - self._saved >= _SAVED_EVERY_S:
            self.save()

    def drop(self, source: str) -> None:
        """Forget what ``source`` left behind, if anything."""
        self._entries.pop(stored_path(source, self.folder), None)

    def drop_vanished(self, folders: Iterable[str], sources: Iterable[str]) -> int:
        """Forget what lies below ``folders`` and is none of ``sources``; give back how many recordings that were."""
        kept = {stored_path(source, self.folder) for source in sources}
        roots = tuple(os.path.join(os.path.abspath(folder), "") for folder in folders)  # noqa: PTH100, PTH118
        vanished = [path for path in self._entries if path not in kept and located(path, self.folder).startswith(roots)]
        for path in vanished:
            del self._entries[path]
        return len(vanished)

    def save(self) -> None:
        """Make what was added last.

        Raises:
            OutputError: it cannot be written.
        """
        with _disk_trouble(self.folder):
            for file in self._data:
                file.flush()
                os.fsync(file.fileno())
            catalogue = Catalogue.of(self._maker, self._generation, self._entries.values())
            with replacing(self.folder / CATALOGUE_NAME) as temporary:
                temporary.write_text(catalogue.as_json(), "ascii")
        self._saved = time.monotonic()

    def _begin(self, *, fresh: bool) -> None:
        if fresh or kind_of(self.folder / CATALOGUE_NAME) is None:
            self._begin_generation(1 + max(_generations(self.folder), default=0))
            return
        catalogue = read_catalogue(self.folder)
        if not self._maker.agrees_with(catalogue.maker):
            raise made_by_another(self.folder, catalogue.maker, self._maker)
        self._entries = {entry.path: entry for entry in catalogue.entries()}
        self._num_rows = catalogue.num_rows
        self._generation = catalogue.generation
        check_data(self.folder, catalogue)
        self._data = [path.open("r+b") for path in data_paths(self.folder, self._generation)]

    def _begin_generation(self, generation: int) -> None:
        self._generation = generation
        self._data = [path.open("w+b") for path in data_paths(self.folder, generation)]
        self._num_rows = 0

    def _append(self, path: str, stamp: Stamp, num_snippets: int, end_s: float, rows: Sequence[bytes]) -> None:
        with _disk_trouble(self.folder):
            for file, width, content in zip(self._data, self._widths, rows, strict=True):
                file.seek(self._num_rows * width)
                file.write(content)
        self._entries[path] = Entry(path, *stamp, self._num_rows, num_snippets, end_s)
        self._num_rows += num_snippets

    @property
    def _widths(self) -> tuple[int, int]:
        """Bytes of a row of each data file."""
        return self._maker.joint_dim * DATA_TYPE.itemsize, DATA_TYPE.itemsize

    def _write_anew(self) -> None:
        """Copy what is still wanted into a new generation."""
        old_data, old_entries = self._data, list(self._entries.values())
        self._begin_generation(self._generation + 1)
        for entry in old_entries:
            rows = []
            for file, width in zip(old_data, self._widths, strict=True):
                file.seek(entry.first_row * width)
                rows.append(file.read(entry.num_snippets * width))
            self._append(entry.path, entry.stamp, entry.num_snippets, entry.end_s, rows)
        for file in old_data:
            file.close()

    def _remove_other_generations(self) -> None:
        wanted = data_paths(self.folder, self._generation)
        for path in _data_files(self.folder):
            if path not in wanted:
                with suppress(OSError):  # on Windows, one that is being asked: the next run removes it
                    path.unlink()


def _make(folder: Path) -> None:
    """Make the folder; one that is there must hold an index, whole or not, or nothing."""
    if kind_of(folder) is not None and kind_of(folder / CATALOGUE_NAME) != "file":
        ours = {folder / _LOCK_NAME, *_data_files(folder)}
        if kind_of(folder) != "folder" or any(path not in ours for path in folder.iterdir()):
            raise OutputError(f"{folder} is there and is not an index: name another place with -o.")
    folder.mkdir(exist_ok=True)


def _data_files(folder: Path) -> list[Path]:
    return [path for pattern in _DATA_PATTERNS for path in folder.glob(pattern)]


def _generations(folder: Path) -> Iterator[int]:
    for path in _data_files(folder):
        number = path.stem.rpartition("-")[2]
        if number.isdecimal():
            yield int(number)


@contextmanager
def _disk_trouble(folder: Path) -> Iterator[None]:
    """Say which index it was that could not be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write the index {folder}: {why_not_written(error, folder)}.") from error
