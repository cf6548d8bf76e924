"""A list of recordings and what is said of them -> records, and everything that is wrong with it, said line by line.

JSONL   an object a line: ``audio`` (or ``video``, ``file``, ``path``) and ``text`` (or ``caption``); where known
        ``class``, ``split`` and ``sounds``, a list of ``start``, ``end``, ``text`` and ``class``
CSV     the same as columns, without ``sounds``

Paths are relative to the list's folder. Other keys are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from avdetect.errors import DataError, MediaError
from avdetect.files import MAX_TEXT_BYTES, kind_of, open_file
from avdetect.labels.video_list import Faults, all_faults, csv_lines, json_lines, validated
from avdetect.media.packets import AudioChunk, StreamPlan
from avdetect.media.source import open_source
from avdetect.text.phrases import split_phrases
from avdetect.timebase import Span


@dataclass(frozen=True, slots=True)
class HeardSound:
    """A sound in a longer recording."""

    span: Span
    text: str
    """A description."""
    label: str | None = None
    """Its class, where it has one: two sounds of a class cannot be told to be different."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSound:
    """A sound on its own."""

    samples: NDArray[np.float32]
    """Mono, ``(samples,)``."""
    text: str
    label: str | None = None


def read_waveform(path: Path, rate_hz: int) -> NDArray[np.float32]:
    """All sound of a file, mono, as the scorer would hear it; a gap is silence.

    Raises:
        MediaError: it cannot be opened, or has no sound.
    """
    plan = StreamPlan(
        hop=Fraction(1),
        cells_per_snippet=1,
        luma_size=(0, 0),
        rgb_size=(0, 0),
        rgb_cells=frozenset(),
        rate_hz=rate_hz,
        want_video=False,
    )
    with open_source(path, plan, decoder_threads=1) as media:
        chunks = [item for item in media.packets() if isinstance(item, AudioChunk)]
    if not chunks:
        raise MediaError(f"{path} has no sound.")
    starts = [round(chunk.time * rate_hz) for chunk in chunks]
    samples = np.zeros(starts[-1] + len(chunks[-1].samples), np.float32)
    for start, chunk in zip(starts, chunks, strict=True):
        samples[max(start, 0) : start + len(chunk.samples)] = chunk.samples[max(-start, 0) :]
    return samples


Split = Literal["train", "val"]


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A recording and what is said of it."""

    name: str
    """The name in the list."""
    where: str
    """The line that names it, for messages."""
    media: Path
    text: str
    label: str | None
    split: Split | None
    sounds: tuple[HeardSound, ...] | None
    """The sounds and their times, where they are known."""


def read_text_records(path: Path) -> tuple[TextRecord, ...]:
    """Read and check a list of recordings; there is at least one record in it.

    Raises:
        DataError: all that is wrong, each with its line.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
    if kind_of(path) != "file":
        raise DataError(f"there is no list at {path}.")
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: a list of recordings ends in {' or '.join(readers)}.")
    faults: Faults = []
    try:
        open_file(path, limit=MAX_TEXT_BYTES).close()
        records = tuple(readers[path.suffix.lower()](path, faults))
    except (OSError, UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from error
    faults += [f"{one.where}: there is no file {one.media}" for one in records if kind_of(one.media) != "file"]
    if not records and not faults:
        faults.append(f"{path} lists no recording")
    if faults:
        raise DataError(*all_faults(path, faults))
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
