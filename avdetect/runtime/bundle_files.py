"""The files of a bundle, from a directory or a ``.zip`` of one, checked against its manifest.

onnxruntime opens whatever path an *external data* entry of a graph names. The runtime does not depend on the ``onnx``
package, so the few fields that can hold such an entry are walked by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydantic import ValidationError

from avdetect.errors import BundleError
from avdetect.files import kind_of, read_file
from avdetect.manifest import SCHEMA_VERSION, FileEntry, Manifest

MANIFEST_NAME = "manifest.json"
_MAX_MANIFEST_BYTES = 16 << 20
_MAX_FILE_BYTES = (2 << 30) - 1
"""A graph cannot be larger: that is as far as protobuf's lengths go."""
_MAX_PACKED_TIMES = 200
_PACKED_FREELY_BYTES = 32 << 20
"""Weights do not become 200 times smaller in a zip; something that unpacks to so much more is made to fill memory."""


def default_bundle_path() -> Path:
    """The bundle that ships inside the package."""
    return Path(__file__).parent.parent / "assets" / "default"


class _Folder(Protocol):
    def read(self, name: str, limit: int) -> bytes: ...
    def size(self, name: str) -> int: ...


class _Directory:
    def __init__(self, root: Path) -> None:
        self.root = root

    def size(self, name: str) -> int:
        return self._path(name).stat().st_size

    def read(self, name: str, limit: int) -> bytes:
        return read_file(self._path(name), limit=limit)

    def _path(self, name: str) -> Path:
        path = Path(os.path.realpath(self.root / name))
        if not path.is_relative_to(os.path.realpath(self.root)):  # a symbolic link that leads out
            raise BundleError(f"{self.root}: {name} lies outside the bundle.")
        return path


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        manifests = [name for name in archive.namelist() if PurePosixPath(name).name == MANIFEST_NAME]
        # The zip may hold the files or the directory of them: what holds the topmost manifest is the bundle.
        top = min(manifests, key=lambda name: name.count("/"), default=MANIFEST_NAME)
        self.prefix = top.removesuffix(MANIFEST_NAME)

    def size(self, name: str) -> int:
        return self.archive.getinfo(self.prefix + name).file_size

    def read(self, name: str, limit: int) -> bytes:
        info = self.archive.getinfo(self.prefix + name)
        if info.file_size > max(_MAX_PACKED_TIMES * info.compress_size, _PACKED_FREELY_BYTES):
            raise ValueError(f"it would unpack to {info.file_size >> 20} MiB, which no model's file does")
        with self.archive.open(info) as file:
            return file.read(limit)


class _Memory:
    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.contents = contents

    def size(self, name: str) -> int:
        return len(self.contents[name])

    def read(self, name: str, limit: int) -> bytes:
        return self.contents[name][:limit]


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """A bundle whose manifest has been read; the other files are read, and checked, when asked for."""

    path: Path
    manifest: Manifest
    _folder: _Folder

    @staticmethod
    def in_memory(path: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> BundleFiles:
        """A bundle that is still to be written to ``path``; ``contents`` are its other files, by their path in it."""
        return BundleFiles(path, manifest, _Memory(contents))

    def read(self, entry: FileEntry) -> bytes:
        """A file's bytes, verified.

        Raises:
            BundleError: it is missing, or its size or hash is not what the manifest says.
        """
        if entry.size > _MAX_FILE_BYTES:
            raise BundleError(
                f"{self.path}: {entry.path} has {entry.size >> 20} MiB by the manifest, too much to load."
            )
        try:
            size = self._folder.size(entry.path)
            data = self._folder.read(entry.path, size) if size == entry.size else b""
        except BundleError:
            raise
        except Exception as error:  # a damaged zip raises what it likes
            raise BundleError(f"{self.path}: {entry.path} cannot be read ({_reason(error)}).") from error
        if size != entry.size:
            raise BundleError(
                f"{self.path}: {entry.path} is {size} bytes long, its manifest says {entry.size}; get the bundle again."
            )
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            raise BundleError(
                f"{self.path}: {entry.path} is damaged or was changed (sha256 {found[:12]}..., its manifest says "
                f"{entry.sha256[:12]}...); get the bundle again."
            )
        return data

    def read_file(self, path: str) -> bytes:
        """The bytes of the file that the manifest lists as ``path``; errors as for ``read``."""
        return self.read(next(entry for entry in self.manifest.files if entry.path == path))

    def read_graph(self, graph: str) -> bytes:
        """An ONNX graph's bytes, verified; it must hold its weights itself.

        Raises:
            BundleError: as for ``read``, or the graph is no ONNX model, or refers to files beside it.
        """
        data = self.read_file(graph)
        try:
            outside = external_data_locations(data)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{self.path}: {graph} is not an ONNX model ({error}).") from error
        if outside:
            raise BundleError(
                f"{self.path}: {graph} keeps weights in other files ({', '.join(sorted(outside))}); "
                "save it as one file."
            )
        return data


@contextmanager
def open_bundle_files(path: Path) -> Iterator[BundleFiles]:
    """Open a bundle and read its manifest.

    Raises:
        BundleError: there is no bundle at ``path``, or its manifest cannot be obeyed.
    """
    if kind_of(path) == "folder":
        directory = _Directory(path)
        yield BundleFiles(path, _parse(path, _manifest_bytes(path, directory)), directory)
    elif kind_of(path) == "file":
        try:
            archive = zipfile.ZipFile(path)
        except Exception as error:  # a damaged zip raises what it likes
            raise BundleError(
                f"{path} is neither a bundle's directory nor a .zip of one ({_reason(error)})."
            ) from error
        with archive:
            folder = _Zip(archive)
            yield BundleFiles(path, _parse(path, _manifest_bytes(path, folder)), folder)
    else:
        raise BundleError(f"there is no bundle at {path}.")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the bundle at ``path``; the other files are not looked at.

    Raises:
        BundleError: there is no bundle at ``path``, or its manifest cannot be obeyed.
    """
    with open_bundle_files(path) as files:
        return files.manifest


def verify(path: Path) -> list[FileEntry]:
    """Check every file of the bundle at ``path`` against its manifest; give back the list.

    Raises:
        BundleError: the first thing that is wrong.
    """
    with open_bundle_files(path) as files:
        for entry in files.manifest.files:
            if entry.path in files.manifest.graphs:
                files.read_graph(entry.path)
            else:
                files.read(entry)
        return list(files.manifest.files)


def _manifest_bytes(path: Path, folder: _Folder) -> bytes:
    try:
        if folder.size(MANIFEST_NAME) > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path}: {MANIFEST_NAME} is larger than {_MAX_MANIFEST_BYTES >> 20} MiB.")
        return folder.read(MANIFEST_NAME, _MAX_MANIFEST_BYTES)
    except (FileNotFoundError, KeyError) as error:
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST_NAME}.") from error
    except BundleError:
        raise
    except Exception as error:  # a damaged zip raises what it likes
        raise BundleError(f"{path}: {MANIFEST_NAME} cannot be read ({_reason(error)}).") from error


def _parse(path: Path, text: bytes) -> Manifest:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {MANIFEST_NAME} is not JSON ({error}).") from error
    declared = str(data.get("schema_version", "")) if isinstance(data, dict) else ""
    version, ours = _version(declared), _version(SCHEMA_VERSION)
    if version is None or ours is None or version[0] != ours[0]:
        raise BundleError(
            f"{path}: its manifest has schema version {declared or 'none'}, this avdetect reads {SCHEMA_VERSION}; "
            "use a bundle exported for this version, or another version of avdetect."
        )
    try:
        # A newer minor version may say more than we know; in our own, an unknown key is a mistake.
        manifest = Manifest.model_validate(data, extra="ignore" if version > ours else "forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{path}: {MANIFEST_NAME} is not valid: {where + ': ' if where else ''}{first['msg']}."
        ) from error
    except Exception as error:  # numbers that no check of a single field foresaw
        raise BundleError(f"{path}: {MANIFEST_NAME} is not valid: {type(error).__name__}: {error}.") from error
    for entry in manifest.files:
        pure = PurePosixPath(entry.path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in entry.path or ":" in entry.path:
            raise BundleError(f"{path}: {MANIFEST_NAME} names {entry.path}, which lies outside the bundle.")
    return manifest


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if _NUMBER.fullmatch(major) and _NUMBER.fullmatch(minor) else None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is not there" if isinstance(error, KeyError) else str(error)


_NUMBER = re.compile(r"[0-9]{1,4}")

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto through which a TensorProto can be reached.
_MESSAGES = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def external_data_locations(model: bytes) -> set[str]:
    """The ``location`` of every tensor that is kept outside the model file.

    Raises:
        ValueError: ``model`` is not an ONNX model.
    """
    return set(_locations(memoryview(model), "Model"))


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    if kind == "Entry":  # StringStringEntryProto: 1 key, 2 value
        entry = {number: bytes(value) for number, value in _fields(message)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode("utf-8", "replace")
        return
    children = _MESSAGES[kind]
    for number, value in _fields(message):
        child = children.get(number)
        if child is not None:
            yield from _locations(value, child)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a message; numbers are stepped over."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        wire = key & 7
        if wire == _VARINT:
            _, position = _varint(message, position)
        elif wire == _FIXED64:
            position += 8
        elif wire == _FIXED32:
            position += 4
        elif wire == _LENGTH:
            length, position = _varint(message, position)
            if position + length > end:
                raise ValueError("a field reaches past the end of its message")
            yield key >> 3, message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {wire} is not in use")
    if position != end:
        raise ValueError("a field reaches past the end of its message")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number does not end")
