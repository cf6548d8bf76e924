"""Files: read within bounds, and written whole or not at all to targets that are checked before the work.

Whatever goes wrong on the way out is one sentence, an :class:`~avdetect.errors.OutputError` that names the target.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from avdetect.errors import OutputError

__all__ = [
    "MAX_TEXT_BYTES",
    "check_folder",
    "check_target",
    "kind_of",
    "make_folder",
    "open_file",
    "read_file",
    "real_path",
    "replacing",
    "replacing_folder",
    "why_not_written",
]

MAX_TEXT_BYTES = 256 << 20
"""What is read whole of a text: lists of a million videos are shorter."""

_MAX_SUFFIX_BYTES = 16
_MAX_STEM_BYTES = 40
_TOKEN_BYTES = 3
_FOREIGN = frozenset({errno.EXDEV, errno.EBUSY})
"""A rename is refused where the target is a mount of its own, as a file that is bound into a container is."""
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""These say what is wrong with the target even where they do not name it."""


def why_not_written(error: OSError, path: Path) -> str:
    """Say in words why ``path`` could not be written, without a full stop."""
    missing = (
        f"no file can be made in {path.parent}"
        if kind_of(path.parent) == "folder"
        else f"there is no folder {path.parent}"
    )
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "it would become larger than a file may be here",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: f"there is no permission to write in {path.parent}",
        errno.EPERM: f"there is no permission to write in {path.parent}",
        errno.ENAMETOOLONG: "its name is too long for the file system",
        errno.ENOENT: missing,
        errno.ENOTDIR: f"{path.parent} is not a folder",
        errno.EISDIR: "it is a folder, name a file",
        errno.ELOOP: "its symbolic links lead in a circle",
    }
    return reasons.get(error.errno or 0) or error.strerror or str(error)


def kind_of(path: Path) -> Literal["file", "folder", "other"] | None:
    """Say what is at ``path``; ``None`` for nothing, and for a name that nothing can have."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # pathlib's own questions raise on names that are too long
        return None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def real_path(path: str | Path) -> str:
    """Give what two names of the same file have in common; links that lead in a circle lead nowhere."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a null byte, which a list or a file of scores may hold
        return str(path)


def open_file(path: Path, *, limit: int) -> BinaryIO:
    """Open a file to read it; nothing is waited for, as a pipe's writer would be, and nothing is read without bound.

    Args:
        path: The file.
        limit: How many bytes it may have.

    Raises:
        OSError: It cannot be opened, is not a file, or is larger; ``strerror`` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    status = os.fstat(descriptor)
    reason = ""
    if stat.S_ISDIR(status.st_mode):
        reason = "it is a folder"
    elif not stat.S_ISREG(status.st_mode):
        reason = "it is a pipe or a device, not a file"
    elif status.st_size > limit:
        reason = f"it has {status.st_size >> 20} MiB, more than the {limit >> 20} that are read"
    if reason:
        os.close(descriptor)
        raise OSError(errno.EINVAL, reason, str(path))
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, *, limit: int = MAX_TEXT_BYTES) -> bytes:
    """Read a whole file of at most ``limit`` bytes; errors as for ``open_file``."""
    with open_file(path, limit=limit) as file:
        return file.read(limit)


def check_target(path: Path) -> None:
    """Notice before the work that ``path`` could not be written, by making an empty file beside it.

    Raises:
        OutputError: The folder is missing or cannot be written, the name is too long, or something is there that is
            not a file.
    """
    with _told(path):
        os.unlink(_new_file(_settled(path)))  # noqa: PTH108 - a string is what os.open takes, too


def check_folder(path: Path) -> None:
    """Notice before the work that nothing could be written into the folder ``path``, which need not be there yet.

    Raises:
        OutputError: It is something else than a folder, or cannot be made or written.
    """
    with _told(path):
        place = path.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not stat.S_ISDIR(place.stat().st_mode):
            whose = (
                "it is there already and is not a folder" if place == path.absolute() else f"{place} is not a folder"
            )
            raise OutputError(f"cannot write {path}: {whose}.")
        os.unlink(_new_file(place / "x"))  # noqa: PTH108
        with suppress(FileNotFoundError):
            path.lstat()  # a name that is too long


def make_folder(path: Path) -> None:
    """Make the folder ``path`` and those above it, where they are missing.

    Raises:
        OutputError: It cannot be made, or is something else than a folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"cannot write {path}: it is there already and is not a folder.") from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {why_not_written(error, path)}.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` on success, remove it on failure.

    A link is followed, so that it stays one. What was there keeps its permissions.

    Raises:
        OutputError: The folder is missing or cannot be written, the disk is full while the block writes, or ``path``
            is a device, a pipe or a folder, which a rename would put out of use.
    """
    with _told(path):
        target = _settled(path)
        temporary = Path(_new_file(target))
    try:
        try:
            yield temporary
        except BrokenPipeError:
            raise  # of another output: nobody reads it any more
        except OSError as error:
            if not _is_about(error, temporary):
                raise
            raise OutputError(f"cannot write {path}: {why_not_written(error, path)}.") from error
        with _told(path):
            if kind_of(target) is not None:
                shutil.copymode(target, temporary)
            _rename(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path``; make it ``path`` on success, remove it on failure.

    What was at ``path`` is there until the new one is whole, and is put back if that cannot take its place.

    Raises:
        OutputError: The folder above is missing or cannot be written, or the disk is full while the block writes.
    """
    with _told(path):
        aside = Path(_temporary_name(path.absolute()))
        aside.mkdir()
    new, old = aside / "new", aside / "old"
    try:
        with _told(path):
            new.mkdir()
            yield new
            if os.path.lexists(path):
                _move_folder(path, old)
            try:
                _move_folder(new, path)
            except BaseException:
                if old.exists():
                    _move_folder(old, path)
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {why_not_written(error, path)}.") from error


def _settled(path: Path) -> Path:
    """Follow the links of ``path`` to the file that is to be written.

    Raises:
        OutputError: Something is there that is not a file.
        OSError: The links lead in a circle, or a name is too long.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise OutputError(f"cannot write {path}: it is a folder, name a file.")
    if not stat.S_ISREG(mode):
        raise OutputError(f"cannot write {path}: it is there already and is not a file.")
    return target


def _new_file(target: Path) -> str:
    """Make an empty file beside ``target``, as readable as any new file."""
    while True:
        name = _temporary_name(target)
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        return name


def _temporary_name(target: Path) -> str:
    """Name a hidden neighbour of ``target``: a longer name than that of ``target`` might not be allowed there."""
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _MAX_SUFFIX_BYTES else ""
    token = os.urandom(_TOKEN_BYTES).hex()
    room = len(os.fsencode(target.name)) - len(f"..{token}{suffix}")
    stem = os.fsencode(target.stem)[: max(min(room, _MAX_STEM_BYTES), 0)].decode("utf-8", "ignore")
    return str(target.parent / f".{stem}{'.' if stem else ''}{token}{suffix}")


def _is_about(error: OSError, temporary: Path) -> bool:
    """Whether the block failed to write; what else it opened is for who opened it."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else None
    return error.errno in _OF_THE_DISK if named is None else named.removeprefix("file:") == str(temporary)


def _rename(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno not in _FOREIGN:
            raise
        shutil.copyfile(source, target)


def _move_folder(source: Path, target: Path) -> None:
    """Rename a folder; copy it where the file system has no rename for it, as an overlay's lower layer."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in _FOREIGN:
            raise
        shutil.copytree(source, target, symlinks=True)
        shutil.rmtree(source)
