"""A manifest of sound and text -> its records, and everything that is wrong with it, said at once, line by line.

JSONL   an object a line: ``audio`` (or ``video``, ``file``, ``path``) and ``text`` (or ``caption``); where known
        ``class``, ``split`` and ``sounds``, a list of ``start``, ``end``, ``text`` and ``class``
CSV     the same as columns, without ``sounds``

Paths are relative to the manifest's folder. Other keys are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from avdetect.errors import DataError
from avdetect.labels.lines import Faults, all_faults, csv_lines, json_lines, validated
from avdetect.text.phrases import split_phrases
from avdetect.text.sounds import HeardSound
from avdetect.timebase import Span

__all__ = ["TextRecord", "read_text_records"]

Split = Literal["train", "val"]


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
    faults: Faults = []
    try:
        records = tuple(readers[path.suffix.lower()](path, faults))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from error
    faults += [f"{one.where}: there is no file {one.media}" for one in records if not one.media.is_file()]
    if not records and not faults:
        faults.append(f"{path} lists no recording")
    if faults:
        raise DataError(all_faults(path, faults))
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


def _read_jsonl(path: Path, faults: Faults) -> Iterator[TextRecord]:
    for where, data in json_lines(path, faults):
        for row in validated(_Row, data, where, faults):
            yield row.record(where, path.parent)


def _read_csv(path: Path, faults: Faults) -> Iterator[TextRecord]:
    for where, fields in csv_lines(path, faults):
        data = {name: value for name, value in fields.items() if name != "sounds"}
        for row in validated(_Row, data, where, faults):
            yield row.record(where, path.parent)
