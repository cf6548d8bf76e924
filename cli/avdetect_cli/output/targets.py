"""Whether results could be written where they are asked for, found out before the work.

The exit code follows from the mistake, whatever the command: a name that cannot be meant, such as that of an input, of
a folder where a file is asked for, or with another ending, is misuse (2). A place that cannot be written is a failure
(1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from avdetect.errors import OutputError, UsageError
from avdetect.files import check_folder, check_target, kind_of, real_path

__all__ = ["JSON_SUFFIXES", "PAGE_SUFFIXES", "check_outputs"]

JSON_SUFFIXES = (".json",)
PAGE_SUFFIXES = (".html", ".htm")


def check_outputs(
    files: Mapping[str, Path | None],
    *,
    folders: Mapping[str, Path | None] | None = None,
    with_parents: bool = False,
    read: Iterable[str | Path] = (),
    suffixes: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Notice before an hour of work that a result could not be written.

    Args:
        files: For each option, the file it names; ``None`` where it is not given.
        folders: For each option, the folder it names, which is made where it is missing.
        with_parents: Whether the folders above these are made, too.
        read: What must not be overwritten.
        suffixes: For each option that has them, how its file's name may end.

    Raises:
        UsageError: A name ends otherwise, is that of an input, is given twice, or is that of something else.
        OutputError: A file or a folder cannot be written.
    """
    inputs = {real_path(path) for path in read}
    taken: set[str] = set()
    for option, path in files.items():
        if path is None:
            continue
        place = real_path(path)
        if place in inputs:
            raise UsageError(f"{path} is an input and would be overwritten: name another file for the output.")
        endings = (suffixes or {}).get(option)
        if endings is not None and path.suffix.lower() not in endings:
            what = "a report is a web page, " if endings is PAGE_SUFFIXES else ""
            raise UsageError(f"{option} {path}: {what}give it a name that ends in {endings[0]}.")
        if place in taken:
            raise UsageError(f"{path} is asked for twice: name another file for one of the outputs.")
        taken.add(place)
        kind = kind_of(path)
        if kind == "folder":
            raise UsageError(f"{option} {path} is a folder: name a file.")
        if kind == "other":
            raise UsageError(f"{path} is no file that could be replaced: name another one.")
        check_target(path)
    for option, folder in (folders or {}).items():
        if folder is None:
            continue
        if kind_of(folder) not in (None, "folder"):
            raise UsageError(f"{option} {folder} is a file: name a folder.")
        if (
            not with_parents and kind_of(folder.absolute().parent) != "folder"
        ):  # more likely a slip than a wish for several new folders
            raise OutputError(f"cannot write {folder}: there is no folder {folder.parent}.")
        check_folder(folder)
