"""An index of sound on disk: a folder with the traces of recordings, so that each is heard once.

    index.json          what made it, and where each recording lies (``catalogue.py``)
    vectors-G.f32       float32, ``joint_dim`` to a snippet, recording after recording
    salience-G.f32      float32, one to a snippet; NaN where there is no sound
    lock                held by who writes

Data files only grow; the catalogue is replaced as a whole once what it names has reached the disk. So whatever ends a
run, the index is as it was when the catalogue was last saved. Rows that no recording has any longer are left where they
are until there are more of them than of others; then generation G + 1 is written.

Vectors are kept in float32: half precision would do (it changes relevance by 0.0002), but it would have to be converted
for every question, which takes three times as long as to compare it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from avdetect.errors import SoundIndexError
from avdetect.files import kind_of
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
from avdetect.search.corpus import Corpus
from avdetect.text.scoring import Floats
from avdetect.timebase import as_seconds

INDEX_NAME = ".avdetect-index"
"""Name of an index inside a folder of media; the leading dot hides it from the search for media."""


def is_index(folder: Path) -> bool:
    """Tell whether ``folder`` holds an index."""
    return kind_of(folder / CATALOGUE_NAME) == "file"


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
        """The model that heard the recordings."""
        return self._catalogue.maker

    def corpus(self) -> Corpus:
        """All that was heard; the arrays stay on disk until they are looked at."""
        columns = self._catalogue.columns
        return Corpus(
            hop=as_seconds(self.maker.hop_s),
            vectors=self._vectors,
            salience=self._salience,
            sources=_Located(self.folder, columns["path"]),
            first_rows=np.array(columns["first_row"], np.int64),
            num_snippets=np.array(columns["num_snippets"], np.int64),
            ends_s=np.array(columns["end_s"], np.float64),
        )

    def number_of(self, source: str, stamp: Stamp) -> int | None:
        """Return the number of ``source`` in the corpus, if it was heard in its present state."""
        columns = self._catalogue.columns
        number = self._numbers.get(stored_path(source, self.folder))
        if number is None or stamp != Stamp(columns["size_bytes"][number], columns["modified_ns"][number]):
            return None
        return number

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {path: number for number, path in enumerate(self._catalogue.columns["path"])}

    def _open(self) -> None:
        self._catalogue = catalogue = read_catalogue(self.folder)
        check_data(self.folder, catalogue)
        vectors, salience = data_paths(self.folder, catalogue.generation)
        width = catalogue.maker.joint_dim
        self._vectors = _mapped(vectors, catalogue.num_rows * width).reshape(-1, width)
        self._salience = _mapped(salience, catalogue.num_rows)


class _Located(Sequence[str]):
    """Stored paths as they can be opened from here; of thousands, only those that are looked at are worked out."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        return os.path.normpath(os.path.join(self._folder, self._paths[at]))  # noqa: PTH118 - see Stamp


def _mapped(path: Path, num_values: int) -> Floats:
    if not num_values:
        return np.zeros(0, np.float32)  # nothing cannot be mapped
    return np.memmap(path, DATA_TYPE, "r", shape=(num_values,))
