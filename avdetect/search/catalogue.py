"""What an index of sound holds and what made it: its ``index.json``."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from avdetect.errors import SoundIndexError

__all__ = [
    "CATALOGUE_NAME",
    "DATA_TYPE",
    "SCHEMA_VERSION",
    "Catalogue",
    "Entry",
    "Maker",
    "Stamp",
    "check_data",
    "data_paths",
    "made_by_another",
    "read_catalogue",
    "stored_path",
]

CATALOGUE_NAME = "index.json"
SCHEMA_VERSION = "1.0"
"""``major.minor``: an index of another major version is refused."""
DATA_TYPE = np.dtype("<f4")
"""Of the data files."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What heard the recordings: traces of different makers cannot be compared."""

    bundle: str
    """Name and version, for people."""
    sha256: str
    """Fingerprint of the graphs and of the grid."""
    hop_s: float
    joint_dim: int

    def agrees_with(self, other: Maker) -> bool:
        """Whether both hear the same; bundles of other names may."""
        return replace(self, bundle="") == replace(other, bundle="")


@dataclass(frozen=True, slots=True)
class Stamp:
    """By what a changed file is known."""

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """As the file is now.

        Raises:
            OSError: it is not there.
        """
        status = os.stat(path)  # noqa: PTH116 - a string may be one that no Path round-trips
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording in the index."""

    path: str
    """Relative to the index's folder, with forward slashes; absolute where it lies on another drive."""
    stamp: Stamp
    first_row: int
    num_snippets: int
    end_s: float


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of ``index.json``."""

    maker: Maker
    generation: int
    """Which of the data files is meant; it changes when they are written anew."""
    entries: tuple[Entry, ...]
    """In the order of their rows."""

    @property
    def num_rows(self) -> int:
        """Up to the end of the last recording."""
        return max((entry.first_row + entry.num_snippets for entry in self.entries), default=0)

    def as_json(self) -> str:
        """The file's content."""
        columns = [
            [
                entry.path,
                entry.stamp.size_bytes,
                entry.stamp.modified_ns,
                entry.first_row,
                entry.num_snippets,
                entry.end_s,
            ]
            for entry in self.entries
        ]
        document = {
            "schema_version": SCHEMA_VERSION,
            "made_by": asdict(self.maker),
            "generation": self.generation,
            "columns": ["path", "size_bytes", "modified_ns", "first_row", "num_snippets", "end_s"],
            "recordings": columns,
        }
        return json.dumps(document, separators=(",", ":")) + "\n"


def data_paths(folder: Path, generation: int) -> tuple[Path, Path]:
    """The files of vectors and of salience."""
    return folder / f"vectors-{generation}.f32", folder / f"salience-{generation}.f32"


def stored_path(path: str, folder: Path) -> str:
    """How the index in ``folder`` calls a file or folder."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - see Stamp
    with suppress(ValueError):  # another drive
        absolute = os.path.relpath(absolute, os.path.abspath(folder))  # noqa: PTH100
    return absolute.replace(os.sep, "/")


def read_catalogue(folder: Path) -> Catalogue:
    """The catalogue of the index in ``folder``.

    Raises:
        SoundIndexError: there is none, or it is damaged or of another version.
    """
    path = folder / CATALOGUE_NAME
    try:
        document: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise SoundIndexError(
            f"{folder} is not an index: {CATALOGUE_NAME} cannot be read ({error.strerror})."
        ) from error
    except ValueError as error:
        raise _damaged(folder, f"{CATALOGUE_NAME} is not JSON") from error
    version = str(document.get("schema_version", "")) if isinstance(document, dict) else ""
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise SoundIndexError(
            f"{folder} was made in version {version or '(none)'} of the format, this avdetect reads {SCHEMA_VERSION}: "
            "make it anew with `avdetect index --fresh`."
        )
    try:
        maker = Maker(**document["made_by"])
        entries = tuple(
            Entry(path, Stamp(size, modified_ns), first_row, num_snippets, end_s)
            for path, size, modified_ns, first_row, num_snippets, end_s in document["recordings"]
        )
        catalogue = Catalogue(maker, document["generation"], entries)
        _check(catalogue)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, f"{CATALOGUE_NAME} does not hold what it should") from error
    return catalogue


def check_data(folder: Path, catalogue: Catalogue) -> None:
    """The data files hold all that ``catalogue`` names.

    Raises:
        SoundIndexError: they do not, or are not there.
    """
    for path, width in zip(data_paths(folder, catalogue.generation), (catalogue.maker.joint_dim, 1), strict=True):
        try:
            num_bytes = path.stat().st_size
        except OSError as error:
            raise _damaged(folder, f"{path.name} cannot be read ({error.strerror})") from error
        if num_bytes < catalogue.num_rows * width * DATA_TYPE.itemsize:
            raise _damaged(folder, f"{path.name} is cut off")


def made_by_another(folder: Path, theirs: Maker, ours: Maker) -> SoundIndexError:
    """The index and the bundle at hand do not go together."""
    return SoundIndexError(
        f"{folder} was made by the alignment of {theirs.bundle}, which is another than that of {ours.bundle}: name "
        "that bundle with --bundle, or make the index anew with `avdetect index --fresh`."
    )


def _check(catalogue: Catalogue) -> None:
    """Recordings lie one after the other."""
    end = 0
    for entry in catalogue.entries:
        if entry.first_row < end or entry.num_snippets < 0:
            raise ValueError(entry.path)
        end = entry.first_row + entry.num_snippets


def _damaged(folder: Path, what: str) -> SoundIndexError:
    return SoundIndexError(f"{folder} is damaged: {what}; make it anew with `avdetect index --fresh`.")
