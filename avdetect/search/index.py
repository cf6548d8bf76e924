"""An index of sound on disk: a folder with the traces of recordings, so that each is heard once.

    index.json          what made it, and where each recording lies (``catalogue.py``)
    vectors-G.f32       float32, ``joint_dim`` to a snippet, recording after recording
    salience-G.f32      float32, one to a snippet; NaN where there is no sound
    lock                held by who writes

Data files only grow; the catalogue is replaced as a whole once what it names has reached the disk. So whatever ends a
run, the index is as it was when the catalogue was last saved. Rows that no recording has any longer are left where they
are until there are more of them than of others; then generation G + 1 is written.

Vectors are kept in float32: half precision would change no ranking, but it would have to be converted for every
question, which takes three times as long as the comparison itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from avdetect.errors import SoundIndexError
from avdetect.search.catalogue import (
    CATALOGUE_NAME,
    DATA_TYPE,
    Maker,
    Stamp,
    check_data,
    data_paths,
    read_catalogue,
    stored_path,
)
from avdetect.search.corpus import Corpus, Recording
from avdetect.text.scoring import Floats
from avdetect.timebase import as_seconds

__all__ = ["INDEX_NAME", "SoundIndex", "is_index"]

INDEX_NAME = ".avdetect-index"
"""Of the index inside a folder of media, which hides it from the search for media."""


def is_index(folder: Path) -> bool:
    """Whether ``folder`` holds an index."""
    return (folder / CATALOGUE_NAME).is_file()


class SoundIndex:
    """An index, to be asked.

    Raises:
        SoundIndexError: it is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._open()
        except (SoundIndexError, FileNotFoundError):
            self._open()  # a writer may have replaced the data after we had read the catalogue

    @property
    def maker(self) -> Maker:
        """What heard the recordings."""
        return self._catalogue.maker

    def holds(self, source: str, stamp: Stamp) -> bool:
        """Whether ``source`` was heard as it is now."""
        entry = self._entries.get(stored_path(source, self.folder))
        return entry is not None and entry.stamp == stamp

    def corpus(self, sources: Iterable[str] | None = None) -> Corpus:
        """What was heard of ``sources``, which it must hold, under these names; of all by default.

        The arrays stay on disk until they are looked at.
        """
        if sources is None:
            named = [(os.path.normpath(os.path.join(self.folder, path)), path) for path in self._entries]  # noqa: PTH118
        else:
            named = [(source, stored_path(source, self.folder)) for source in sources]
        recordings = [
            Recording(name, entry.first_row, entry.num_snippets, entry.end_s)
            for name, entry in ((name, self._entries[path]) for name, path in named)
        ]
        recordings.sort(key=lambda one: one.first_row)
        return Corpus(as_seconds(self.maker.hop_s), self._vectors, self._salience, tuple(recordings))

    def _open(self) -> None:
        self._catalogue = catalogue = read_catalogue(self.folder)
        check_data(self.folder, catalogue)
        self._entries = {entry.path: entry for entry in catalogue.entries}
        vectors, salience = data_paths(self.folder, catalogue.generation)
        width = catalogue.maker.joint_dim
        self._vectors = _mapped(vectors, catalogue.num_rows * width).reshape(-1, width)
        self._salience = _mapped(salience, catalogue.num_rows)


def _mapped(path: Path, num_values: int) -> Floats:
    if not num_values:
        return np.zeros(0, np.float32)  # nothing cannot be mapped
    return np.memmap(path, DATA_TYPE, "r", shape=(num_values,))
