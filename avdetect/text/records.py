"""A manifest of sound and text -> its records, and everything that is wrong with it, said at once, line by line.

JSONL   an object a line: ``audio`` (or ``video``, ``file``, ``path``) and ``text`` (or ``caption``); where known
        ``class``, ``split`` and ``sounds``, a list of ``start``, ``end``, ``text`` and ``class``
CSV     the same as columns, without ``sounds``

Paths are relative to the manifest's folder. Other keys are ignored.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from avdetect.errors import DataError
from avdetect.labels.rows import faults_of
from avdetect.text.phrases import split_phrases
from avdetect.text.sounds import HeardSound
from avdetect.timebase import Span

__all__ = ["TextRecord", "read_text_records"]

Split = Literal["train", "val"]

_MAX_FAULTS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A recording and what is said of it."""

    name: str
    """As the manifest has it."""
    where: str
    """The line that names it, for messages."""
    media: Path
    text: str
    label: str | None
    split: Split | None
    sounds: tuple[HeardSound, ...] | None
    """What is heard when, where that is known."""


def read_text_records(path: Path) -> tuple[TextRecord, ...]:
    """Read and check a manifest; there is at least one record in it.

    Raises:
        DataError: all that is wrong, each with its line.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
    if not path.is_file():
        raise DataError(f"there is no manifest at {path}.")
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: a manifest of sound and text ends in {' or '.join(readers)}.")
    faults: list[str] = []
    try:
        records = tuple(readers[path.suffix.lower()](path, faults))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from error
    faults += [f"{one.where}: there is no file {one.media}" for one in records if not one.media.is_file()]
    if not records and not faults:
        faults.append(f"{path} lists no recording")
    if faults:
        raise DataError(_all_faults(path, faults))
    return records


class _SoundRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    start: Annotated[float, Field(ge=0)]
    end: float
    text: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("text", "caption"))]
    label: Annotated[str | None, Field(alias="class")] = None

    @model_validator(mode="after")
    def _check(self) -> _SoundRow:
        if not self.end > self.start:
            raise ValueError(f"a sound must end after it starts, got {self.start:g} to {self.end:g}")
        return self


def _lower(value: Any) -> Any:
    return (value.strip().lower() or None) if isinstance(value, str) else value


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    file: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("audio", "video", "file", "path"))]
    text: Annotated[str, Field(validation_alias=AliasChoices("text", "caption"))]
    label: Annotated[str | None, Field(alias="class")] = None
    split: Annotated[Split | None, BeforeValidator(_lower)] = None
    sounds: list[_SoundRow] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_object(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        return data

    @model_validator(mode="after")
    def _check(self) -> _Row:
        if not split_phrases(self.text):
            raise ValueError("the text has no words")
        return self

    def record(self, where: str, folder: Path) -> TextRecord:
        sounds = None
        if self.sounds is not None:
            heard = (HeardSound(Span(row.start, row.end), row.text, row.label) for row in self.sounds)
            sounds = tuple(sorted(heard, key=lambda one: one.span))
        return TextRecord(self.file, where, folder / self.file, self.text, self.label or None, self.split, sounds)


def _read_jsonl(path: Path, faults: list[str]) -> Iterator[TextRecord]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            where = f"{path.name}, line {number}"
            try:
                yield _Row.model_validate(json.loads(line)).record(where, path.parent)
            except json.JSONDecodeError as error:
                faults.append(f"{where}: this is not JSON ({error.msg}, column {error.colno})")
            except ValidationError as error:
                faults.extend(f"{where}: {fault}" for fault in faults_of(error))


def _read_csv(path: Path, faults: list[str]) -> Iterator[TextRecord]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, restkey="")
        for row in rows:
            where = f"{path.name}, line {rows.line_num}"
            if "" in row:
                faults.append(f"{where}: it has more fields than there are columns")
                continue
            row.pop("sounds", None)
            try:
                yield _Row.model_validate(row).record(where, path.parent)
            except ValidationError as error:
                faults.extend(f"{where}: {fault}" for fault in faults_of(error))


def _all_faults(path: Path, faults: Sequence[str]) -> str:
    number = "a mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
    shown = [f"  {fault}" for fault in faults[:_MAX_FAULTS_SHOWN]]
    if len(faults) > _MAX_FAULTS_SHOWN:
        shown.append(f"  and {len(faults) - _MAX_FAULTS_SHOWN} more")
    return "\n".join([f"{path} has {number}:", *shown])
