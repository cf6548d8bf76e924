"""What scenes are composed of, short clips with their place and sounds with their origin, and how it is divided.

What was recorded at one place looks alike, and variants of one recording sound alike: a score on a place or a recording
that was trained on says nothing. So clips are divided by place and sounds by origin, never one by one.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from avdetect.errors import DataError
from avdetect.files import kind_of
from avdetect.labels.video_list import Faults, all_faults, csv_lines, json_lines, validated

__all__ = ["Clip", "SoundFile", "fold_of", "read_clips", "read_sound_files"]

NORMAL = "normal"
"""How a list calls a clip in which nothing happens."""

Split = Literal["train", "val"]


@dataclass(frozen=True, slots=True)
class Clip:
    """A few seconds of picture in which one thing happens, or nothing."""

    path: Path
    label: str | None
    """The class of what is seen all the way through; ``None`` where nothing happens."""
    place: str
    """The camera or video that it was cut from; clips of one place are never divided."""
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A recording of one sound."""

    path: Path
    label: str
    origin: str
    """The recording that it comes from; variants of one recording share it and are never divided."""
    split: Split | None = None


def read_clips(path: Path) -> tuple[Clip, ...]:
    """Read a list of clips, ``.jsonl`` or ``.csv``: ``file``, ``class`` (or ``kind``; ``normal`` for none), ``place``.

    Raises:
        DataError: all that is wrong with it, each mistake with its line.
    """
    return _read(path, _ClipRow, lambda row, folder: row.clip(folder))


def read_sound_files(path: Path, sources: Path | None = None) -> tuple[SoundFile, ...]:
    """Read a list of sounds, ``.jsonl`` or ``.csv``: ``file``, ``class`` and, where known, ``origin`` and ``split``.

    Args:
        path: the list. A sound without an origin is its own.
        sources: a Markdown table with the columns ``id`` (the file's name), ``origin`` and ``path``, which says where
            sounds without an origin come from; ``None`` for none.

    Raises:
        DataError: all that is wrong with it, each mistake with its line.
    """
    origins = {} if sources is None else _origins(sources)
    return _read(path, _SoundRow, lambda row, folder: row.sound(folder, origins))


def fold_of(groups: Sequence[str], strata: Sequence[str], *, num_folds: int = 5, seed: int = 0) -> NDArray[np.int64]:
    """Divide things into folds so that no group is split and every fold has its share of each stratum.

    Large groups are dealt out first, each to the fold that lacks its strata most; ``seed`` decides between equals.

    Args:
        groups: of each thing, for instance its place.
        strata: of each thing, for instance its class.
        num_folds: how many folds.
        seed: of the order of groups of the same size.

    Returns:
        The fold of each thing, int64 ``(things,)``.
    """
    totals = Counter(strata)
    contents: dict[str, Counter[str]] = defaultdict(Counter)
    for group, stratum in zip(groups, strata, strict=True):
        contents[group][stratum] += 1
    order = sorted(contents)
    np.random.default_rng(seed).shuffle(order)
    weight = {group: sum(count / totals[name] for name, count in contents[group].items()) for group in order}
    loads: list[Counter[str]] = [Counter() for _ in range(num_folds)]
    fold: dict[str, int] = {}
    for group in sorted(order, key=lambda one: -weight[one]):
        costs = [
            sum(
                count / totals[name] * (load[name] + count / 2) / totals[name]
                for name, count in contents[group].items()
            )
            for load in loads
        ]
        fold[group] = int(np.argmin(costs))
        loads[fold[group]].update(contents[group])
    return np.array([fold[group] for group in groups], np.int64)


def _lower(value: Any) -> Any:
    return (value.strip().lower() or None) if isinstance(value, str) else value


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    file: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("file", "video", "audio", "path"))]
    split: Annotated[Split | None, BeforeValidator(_lower)] = None

    @model_validator(mode="before")
    @classmethod
    def _is_object(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        return data


class _ClipRow(_Row):
    label: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("class", "kind"))]
    place: Annotated[str, Field(min_length=1)]

    def clip(self, folder: Path) -> Clip:
        return Clip(folder / self.file, None if self.label == NORMAL else self.label, self.place, self.split)


class _SoundRow(_Row):
    label: Annotated[str, Field(min_length=1, validation_alias="class")]
    origin: str | None = None

    def sound(self, folder: Path, origins: dict[str, str]) -> SoundFile:
        path = folder / self.file
        return SoundFile(path, self.label, self.origin or origins.get(path.stem, self.file), self.split)


Row = TypeVar("Row", bound=_Row)
Item = TypeVar("Item", Clip, SoundFile)


def _read(path: Path, model: type[Row], build: Callable[[Row, Path], Item]) -> tuple[Item, ...]:
    lines: dict[str, Callable[[Path, Faults], Iterator[tuple[str, Any]]]] = {".jsonl": json_lines, ".csv": csv_lines}
    if kind_of(path) != "file":
        raise DataError(f"there is no list at {path}.")
    if path.suffix.lower() not in lines:
        raise DataError(f"{path}: a list of clips or sounds ends in {' or '.join(lines)}.")
    faults: Faults = []
    items: list[Item] = []
    try:
        for where, data in lines[path.suffix.lower()](path, faults):
            for row in validated(model, data, where, faults):
                item = build(row, path.parent)
                items.append(item)
                if kind_of(item.path) != "file":
                    faults.append(f"{where}: there is no file {item.path}")
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from error
    if not items and not faults:
        faults.append("it lists nothing")
    if faults:
        raise DataError(*all_faults(path, faults))
    return tuple(items)


def _origins(table: Path) -> dict[str, str]:
    """The origin of each sound by its id."""
    try:
        lines = table.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table} cannot be read as text: {error}.") from error
    header: list[str] = []
    origins: dict[str, str] = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if {"id", "origin", "path"} <= set(cells):
            header = cells
        elif header and len(cells) == len(header):
            row = dict(zip(header, cells, strict=True))
            # Numbered files are variants of one recording; the numbered entries of an archive are not.
            path = row["path"] if " entry " in row["path"] else re.sub(r"\d+", "#", row["path"])
            origins[row["id"]] = f"{row['origin']}: {path}"
        elif not cells:
            header = []
    return origins
