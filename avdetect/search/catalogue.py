"""The catalogue of an index of sound, ``index.json``: what the index holds and what made it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from avdetect.errors import SoundIndexError
from avdetect.manifest import AlignmentSpec, Manifest

CATALOGUE_NAME = "index.json"
SCHEMA_VERSION = "1.0"
"""``major.minor``: an index of another major version is refused."""
DATA_TYPE = np.dtype("<f4")
"""Number format of the data files."""


@dataclass(frozen=True, slots=True)
class Maker:
    """The model that heard the recordings; traces of different makers cannot be compared."""

    bundle: str
    """Name and version, for people."""
    sha256: str
    """Fingerprint of the graphs and of the grid."""
    hop_s: float
    joint_dim: int

    @staticmethod
    def of(manifest: Manifest, alignment: AlignmentSpec) -> Maker:
        """Fingerprint the parts of a bundle that traces depend on: the graphs that hear, and the grid."""
        hashes = {entry.path: entry.sha256 for entry in manifest.files}
        audio = manifest.audio
        parts = {
            "hop_s": manifest.hop_s,
            "encoder": None
            if audio is None
            else {**audio.model_dump(exclude={"graph"}), "sha256": hashes[audio.graph]},
            "alignment": hashes[alignment.audio_graph],
        }
        return Maker(
            bundle=f"{manifest.name} {manifest.version}",
            sha256=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
            hop_s=manifest.hop_s,
            joint_dim=alignment.joint_dim,
        )

    def agrees_with(self, other: Maker) -> bool:
        """Tell whether both hear the same; bundles of different names may."""
        return replace(self, bundle="") == replace(other, bundle="")


class Stamp(NamedTuple):
    """Size and time by which a changed file is recognised."""

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Return the present stamp of a file.

        Raises:
            OSError: it is not there.
        """
        status = os.stat(path)  # noqa: PTH116 - a string may be one that no Path round-trips
        return cls(status.st_size, status.st_mtime_ns)


class Entry(NamedTuple):
    """A recording in the index: a row of the catalogue's columns."""

    path: str
    """Relative to the index's folder, with forward slashes; absolute where it lies on another drive."""
    size_bytes: int
    modified_ns: int
    first_row: int
    num_snippets: int
    end_s: float

    @property
    def stamp(self) -> Stamp:
        """The stamp of the file that was heard."""
        return Stamp(self.size_bytes, self.modified_ns)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of ``index.json``."""

    maker: Maker
    generation: int
    """The number of the data files; it changes when they are written anew."""
    columns: Mapping[str, Sequence[Any]]
    """The recordings in the order of their rows: a column for each field of ``Entry``."""

    @staticmethod
    def of(maker: Maker, generation: int, entries: Collection[Entry]) -> Catalogue:
        """Build a catalogue from rows."""
        columns = {name: [entry[at] for entry in entries] for at, name in enumerate(Entry._fields)}
        return Catalogue(maker, generation, columns)

    def entries(self) -> Iterator[Entry]:
        """Row by row."""
        return map(Entry, *(self.columns[name] for name in Entry._fields))

    @property
    def num_rows(self) -> int:
        """Number of rows of the data files, up to the end of the last recording."""
        first_rows, num_snippets = self.columns["first_row"], self.columns["num_snippets"]
        return int(first_rows[-1] + num_snippets[-1]) if first_rows else 0

    def as_json(self) -> str:
        """The file's content."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "made_by": asdict(self.maker),
            "generation": self.generation,
            "recordings": self.columns,
        }
        return json.dumps(document, separators=(",", ":")) + "\n"


def data_paths(folder: Path, generation: int) -> tuple[Path, Path]:
    """The files of vectors and of salience."""
    return folder / f"vectors-{generation}.f32", folder / f"salience-{generation}.f32"


def stored_path(path: str, folder: Path) -> str:
    """Return the name of a file or folder in the index in ``folder``."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - see Stamp
    with suppress(ValueError):  # another drive
        absolute = os.path.relpath(absolute, os.path.abspath(folder))  # noqa: PTH100
    return absolute.replace(os.sep, "/")


def located(path: str, folder: Path) -> str:
    """Return the absolute path of a file, given its name in the index in ``folder``."""
    return os.path.abspath(os.path.join(folder, path))  # noqa: PTH100, PTH118


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
        columns = {name: document["recordings"][name] for name in Entry._fields}
        catalogue = Catalogue(Maker(**document["made_by"]), document["generation"], columns)
        _check(catalogue)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
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
    """All columns are as long, and recordings lie one after the other."""
    if len({len(column) for column in catalogue.columns.values()}) > 1:
        raise ValueError("columns of different lengths")
    first_rows, num_snippets = (np.array(catalogue.columns[name], np.int64) for name in ("first_row", "num_snippets"))
    ends = np.concatenate(([0], first_rows + num_snippets))
    if (num_snippets < 0).any() or (first_rows < ends[:-1]).any():
        raise ValueError("rows that overlap")


def _damaged(folder: Path, what: str) -> SoundIndexError:
    return SoundIndexError(f"{folder} is damaged: {what}; make it anew with `avdetect index --fresh`.")
