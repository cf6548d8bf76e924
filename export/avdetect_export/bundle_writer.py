"""Writing a bundle: aside first, then renamed, so that half a one never exists."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from avdetect.errors import OutputError
from avdetect.files import check_folder, kind_of, replacing_folder
from avdetect.manifest import FileEntry, Manifest
from avdetect.runtime.bundle_files import open_bundle_files

__all__ = [
    "MANIFEST_NAME",
    "ExportOptions",
    "Weights",
    "check_bundle_target",
    "created_now",
    "file_entries",
    "read_bundle",
    "write_bundle",
]

MANIFEST_NAME = "manifest.json"

Weights = Literal["float32", "float16"]
"""The format in which a graph stores its matrices. The arithmetic is float32 with both."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Choices about a bundle and its detector."""

    weights: Weights = "float32"
    left_context_snippets: int | None = None
    """W; ``None`` for the network's own."""
    lookahead_snippets: int | None = None
    """R; ``None`` for the network's own."""
    name: str | None = None
    """``None`` for the name of the bundle's folder."""


def created_now() -> str:
    """Tell the time, UTC; ``SOURCE_DATE_EPOCH`` where the same input must give the same bytes."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def file_entries(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """Make the manifest's entries of ``files`` (path in the bundle -> content), sorted by path."""
    return tuple(
        FileEntry(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for path, content in sorted(files.items())
    )


def read_bundle(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Read a bundle: the manifest, and the other files by their path, checked against it.

    Raises:
        BundleError: there is no bundle, or it is damaged.
    """
    with open_bundle_files(path) as files:
        return files.manifest, {entry.path: files.read(entry) for entry in files.manifest.files}


def check_bundle_target(directory: Path) -> None:
    """Notice before the work that ``directory`` cannot become a bundle.

    Raises:
        OutputError: it is something else than a bundle, or its parent is missing.
    """
    if kind_of(directory) is not None and kind_of(directory / MANIFEST_NAME) != "file":
        raise OutputError(f"{directory} is there and is not a bundle: give another place or remove it.")
    if kind_of(directory.absolute().parent) != "folder":
        raise OutputError(f"cannot write {directory}: there is no folder {directory.parent}.")
    check_folder(directory)


def write_bundle(directory: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Make ``directory`` a bundle of ``manifest`` and ``files``; one that is there already is replaced.

    The same manifest and files give the same bytes.

    Args:
        directory: where; its parent must be there.
        manifest: its ``files`` must be ``file_entries(files)``.
        files: path in the bundle -> content, the manifest apart.

    Raises:
        OutputError: the directory cannot be written, or is something else than a bundle.
        ValueError: the manifest does not list exactly ``files``.
    """
    if manifest.files != file_entries(files):
        raise ValueError("the manifest's files must be the entries of the files to write.")
    check_bundle_target(directory)
    with replacing_folder(directory) as built:
        contents = {**files, MANIFEST_NAME: (manifest.model_dump_json(indent=2) + "\n").encode()}
        for path, content in contents.items():
            target = built / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
