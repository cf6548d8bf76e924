"""A list of videos -> the videos, and everything that is wrong with the list, said at once, line by line.

CSV             columns ``video`` and ``class`` or ``classes``, and ``split`` if wanted
JSONL           an object a line: the same keys, and ``events``, ``duration``, ``fps``
a folder        with a folder of videos for each class
.list, .txt     features that were extracted elsewhere, see ``feature_files.py``
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from avdetect.errors import DataError
from avdetect.files import MAX_TEXT_BYTES, kind_of, open_file, real_path
from avdetect.labels.feature_files import read_feature_list
from avdetect.labels.videos import LabelledVideo, VideoRow, classes_in
from avdetect.media.find_sources import MEDIA_SUFFIXES

_CSV_COLUMNS = ("video", "class", "label", "classes", "split")
_CLASS_COLUMNS = frozenset({"class", "label", "classes"})


def read_labelled_videos(
    path: Path | str,
    *,
    files_must_exist: bool = True,
    check: Callable[[Sequence[LabelledVideo]], Iterable[str]] | None = None,
) -> tuple[LabelledVideo, ...]:
    """Read and check a list of videos; there is at least one video in it.

    Args:
        path: ``.csv``, ``.jsonl``, a folder with a folder of videos per class, or a ``.list`` of features. Paths in it
            are relative to its folder.
        files_must_exist: whether a file that is not there is a mistake.
        check: finds more mistakes, each with its line; they are reported together with the others.

    Raises:
        DataError: all that is wrong, each with its line.
    """
    path = Path(path)
    faults: Faults = []
    videos = _read(path, faults)
    faults.extend(_file_faults(videos, must_exist=files_must_exist))
    if check is not None:
        faults.extend(check(videos))
    if not videos and not faults:
        faults.append(f"{path} lists no video")
    if faults:
        raise DataError(*all_faults(path, faults))
    return videos


def _read(path: Path, faults: Faults) -> tuple[LabelledVideo, ...]:
    readers: dict[str, Callable[[Path, Faults], Iterator[LabelledVideo]]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".list": read_feature_list,
        ".txt": read_feature_list,
    }
    if kind_of(path) == "folder":
        return tuple(_read_folder(path, faults))
    if kind_of(path) != "file":
        raise DataError(f"there is no list at {path}.")
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: a list of videos is a folder or ends in {', '.join(readers)}.")
    try:
        open_file(path, limit=MAX_TEXT_BYTES).close()
        return tuple(readers[path.suffix.lower()](path, faults))
    except (OSError, UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from error


def _read_jsonl(path: Path, faults: Faults) -> Iterator[LabelledVideo]:
    for where, data in json_lines(path, faults):
        for row in validated(VideoRow, data, where, faults):
            yield row.video_at(where, path.parent)


def _read_csv(path: Path, faults: Faults) -> Iterator[LabelledVideo]:
    for where, fields in csv_lines(path, faults, check_columns=_column_fault):
        # A field that is left empty holds nothing; an empty class is that of a video without an event.
        data = {
            name: fields[name]
            for name in _CSV_COLUMNS
            if fields.get(name) or (name in _CLASS_COLUMNS and name in fields)
        }
        for row in validated(VideoRow, data, where, faults):
            yield row.video_at(where, path.parent)


def _column_fault(columns: set[str]) -> str | None:
    if "video" in columns and columns & _CLASS_COLUMNS:
        return None
    return "the columns must be video and class (or classes), and split if wanted"


def _read_folder(path: Path, faults: Faults) -> Iterator[LabelledVideo]:
    folders = sorted(
        folder for folder in path.iterdir() if kind_of(folder) == "folder" and not folder.name.startswith(".")
    )
    for folder in folders:
        classes = frozenset(classes_in(folder.name))
        videos = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in MEDIA_SUFFIXES and not file.name.startswith(".")
        )
        if not videos:
            faults.append(f"{folder}: the class has no video")
        for video in videos:
            yield LabelledVideo(
                name=video.relative_to(path).as_posix(),
                where=str(video),
                media=video,
                classes=classes,
                positive=bool(classes),
                events=None if classes else (),
            )
    if not folders:
        faults.append(f"{path}: it has no folders; expected one per class, and one called normal")


def _file_faults(videos: Sequence[LabelledVideo], *, must_exist: bool) -> Iterator[str]:
    """Files that are missing or named twice."""
    seen: dict[str, str] = {}
    for video in videos:
        media = video.media
        for file in (media,) if isinstance(media, Path) else (*media.visual, media.audio):
            if must_exist and kind_of(file) != "file":
                yield f"{video.where}: there is no file {file}"
            resolved = real_path(file)
            if resolved in seen:
                yield f"{video.where}: {file.name} is listed already ({seen[resolved]})"
            seen[resolved] = video.where


Faults = list[str]
Row = TypeVar("Row", bound=BaseModel)

_MAX_FAULTS_SHOWN = 50
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""Separators of tables from countries with a decimal comma, or from the clipboard."""


def json_lines(path: Path, faults: Faults) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of each line that is not empty."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            where = f"{path.name}, line {number}"
            try:
                yield where, json.loads(line)
            except json.JSONDecodeError as error:
                faults.append(f"{where}: this is not JSON ({error.msg}, column {error.colno})")


def csv_lines(
    path: Path, faults: Faults, *, check_columns: Callable[[set[str]], str | None] | None = None
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the place of each row, and its fields by column.

    Args:
        path: the table.
        faults: what is wrong with it is added here.
        check_columns: what is wrong with the columns; then no row is read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, restkey="")
        names = rows.fieldnames or ()
        other = next((name for mark, name in _OTHER_SEPARATORS.items() if len(names) == 1 and mark in names[0]), None)
        if other is not None:
            faults.append(f"{path.name}, line 1: its fields are separated by {other}; a .csv needs commas between them")
            return
        fault = check_columns(set(rows.fieldnames or ())) if check_columns is not None else None
        if fault is not None:
            faults.append(f"{path.name}, line 1: {fault}")
            return
        for row in rows:
            where = f"{path.name}, line {rows.line_num}"
            if "" in row:
                faults.append(f"{where}: it has more fields than there are columns")
            elif None in row.values():
                missing = [column for column, value in row.items() if value is None]
                faults.append(f"{where}: it has fewer fields than there are columns: {', '.join(missing)} is missing")
            else:
                yield where, row


def validated(model: type[Row], data: Any, where: str, faults: Faults) -> Iterator[Row]:
    """``data`` as a ``model``; nothing where it is none, and a fault for each reason."""
    try:
        yield model.model_validate(data)
    except ValidationError as error:
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            faults.append(f"{where}: {place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}")


def all_faults(path: Path, faults: Sequence[str]) -> list[str]:
    """Make the lines of one message for what is wrong with the list at ``path``."""
    number = "a mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
    shown = [f"  {fault}" for fault in faults[:_MAX_FAULTS_SHOWN]]
    if len(faults) > _MAX_FAULTS_SHOWN:
        shown.append(f"  and {len(faults) - _MAX_FAULTS_SHOWN} more")
    return [f"{path} has {number}:", *shown]
