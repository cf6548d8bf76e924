"""What there is to train from: a list of videos with labels, a folder per class, or a list of features.

Everything that is wrong with it is found before any work starts, and said at once, line by line.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from avdetect.errors import DataError
from avdetect.media.suffixes import MEDIA_SUFFIXES
from avdetect.timebase import Span

__all__ = ["DataManifest", "FeatureFiles", "LabelledSpan", "VideoRecord", "read_data_manifest"]

NORMAL = frozenset({"", "0", "normal", "none", "background"})
"""Labels of a video that holds no event."""
UNNAMED_EVENT = "event"
"""The class of a video that is said to hold events (label 1), but not which."""

Split = Literal["train", "val"]
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}

# XD-Violence: NAME_label_B1-0-0__0.npy is the first crop of a video with the class B1.
_FEATURE_NAME = re.compile(r"(?P<video>.+_label_(?P<codes>[A-Z0-9-]+))__(?P<crop>\d+)\.npy")
_FEATURE_NORMAL = "A"
_FEATURE_CLASSES = ("B1", "B2", "B4", "B5", "B6", "G")
_MAX_FAULTS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class LabelledSpan:
    """An event whose time is known: for validation only, training needs none."""

    span: Span
    class_name: str


@dataclass(frozen=True, slots=True)
class FeatureFiles:
    """Features that were extracted elsewhere, ``.npy`` ``(snippets, D)``."""

    visual: tuple[Path, ...]
    """One for each crop."""
    audio: Path


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video: a bag."""

    where: str
    """The line that names it, for messages: ``train.csv, line 3``."""
    media: Path | FeatureFiles
    """A file to extract features from, or features."""
    class_names: frozenset[str]
    """Of its events; empty where there is none."""
    split: Split | None = None
    events: tuple[LabelledSpan, ...] | None = None
    """Its events in time; ``None`` where that is not known."""

    @property
    def name(self) -> str:
        """Of its file, without the folder."""
        return self.media.name if isinstance(self.media, Path) else self.media.visual[0].name


@dataclass(frozen=True, slots=True)
class DataManifest:
    """The videos of a data set and the classes of their events."""

    path: Path
    class_names: tuple[str, ...]
    """In the order of their first appearance, or as asked for."""
    records: tuple[VideoRecord, ...]

    @property
    def has_features(self) -> bool:
        """It lists features, not videos."""
        return isinstance(self.records[0].media, FeatureFiles)


def read_data_manifest(path: Path, *, class_names: Sequence[str] | None = None) -> DataManifest:
    """Read and check a manifest.

    Args:
        path: ``.csv`` or ``.jsonl`` with ``video`` and ``label`` or ``classes`` (and ``split``, ``events``), paths
            relative to its folder; a folder with a folder of videos per class; or a list of ``.npy`` files named as
            those of XD-Violence, with ``NAME__vggish.npy`` beside ``NAME__0.npy``.
        class_names: the classes there may be; by default those there are.

    Raises:
        DataError: all that is wrong, each with its line.
    """
    faults: list[str] = []
    readers: dict[str, Callable[[Path, list[str]], Iterator[VideoRecord]]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".list": _read_feature_list,
        ".txt": _read_feature_list,
    }
    if path.is_dir():
        records = list(_read_folder(path, faults))
    elif not path.is_file():
        raise DataError(f"there is no manifest at {path}.")
    elif path.suffix.lower() in readers:
        try:
            records = list(readers[path.suffix.lower()](path, faults))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} cannot be read as text: {error}.") from error
    else:
        raise DataError(f"{path}: a manifest is a folder or ends in {', '.join(readers)}.")
    records = list(_checked(records, faults))
    names = _class_names(records, class_names, faults)
    if not records and not faults:
        faults.append(f"{path} lists no video")
    elif not names and not faults:
        faults.append(f"{path}: no video has an event, so there is nothing to learn")
    if faults:
        raise DataError(_all_faults(path, faults))
    return DataManifest(path, names, tuple(records))


def _as_class_names(value: Any) -> Any:
    """``a|b``, ``["a", "b"]`` or None -> names, those that stand for no event left out."""
    parts = re.split(r"[|;]", value) if isinstance(value, str) else [] if value is None else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be class names: a list, or text with | between them")
    return [part.strip() for part in parts if part.strip().lower() not in NORMAL]


def _as_label(value: Any) -> Any:
    return str(value).strip() if isinstance(value, str | int) else value


def _as_split(value: Any) -> Any:
    text = value.strip().lower() if isinstance(value, str) else value
    return _SPLITS.get(text, text) if text else None


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    start: Annotated[float, Field(ge=0)]
    end: float
    class_name: Annotated[str, Field(alias="class", min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> _Event:
        if not self.end > self.start:
            raise ValueError(f"an event must end after it starts, got {self.start:g} to {self.end:g} s")
        return self


class _Row(BaseModel):
    """A line of a manifest. Other keys may be there: manifests carry much that training has no use for."""

    model_config = ConfigDict(extra="ignore")

    video: Annotated[str, Field(min_length=1)]
    label: Annotated[str | None, BeforeValidator(_as_label)] = None
    classes: Annotated[list[str] | None, BeforeValidator(_as_class_names)] = None
    split: Annotated[Split | None, BeforeValidator(_as_split)] = None
    events: list[_Event] | None = None

    @model_validator(mode="before")
    @classmethod
    def _tell_none_from_missing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        if not {"label", "classes"} & data.keys():
            raise ValueError("it has neither label nor classes")
        return {key: value for key, value in data.items() if key != "classes" or value is not None}

    @model_validator(mode="after")
    def _check(self) -> _Row:
        if self.classes is not None and self.label is not None and (self.label.lower() in NORMAL) == bool(self.classes):
            raise ValueError(f"label {self.label!r} and classes {self.classes} contradict each other")
        return self

    def class_names(self) -> frozenset[str]:
        if self.classes is not None:
            return frozenset(self.classes)
        label = self.label or ""
        return frozenset({UNNAMED_EVENT} if label == "1" else _as_class_names(label))

    def record(self, where: str, folder: Path) -> VideoRecord:
        events = None
        if self.events is not None:
            events = tuple(LabelledSpan(Span(event.start, event.end), event.class_name) for event in self.events)
        return VideoRecord(where, folder / self.video, self.class_names(), self.split, events)


def _read_jsonl(path: Path, faults: list[str]) -> Iterator[VideoRecord]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            where = f"{path.name}, line {number}"
            try:
                yield _Row.model_validate(json.loads(line)).record(where, path.parent)
            except json.JSONDecodeError as error:
                faults.append(f"{where}: this is not JSON ({error.msg}, column {error.colno})")
            except ValidationError as error:
                faults.extend(f"{where}: {fault}" for fault in _sentences(error))


def _read_csv(path: Path, faults: list[str]) -> Iterator[VideoRecord]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, restkey="")
        columns = set(rows.fieldnames or ())
        if "video" not in columns or not columns & {"label", "classes"}:
            faults.append(f"{path.name}, line 1: the columns must be video and label (or classes), and split if wanted")
            return
        for row in rows:
            where = f"{path.name}, line {rows.line_num}"
            if "" in row:
                faults.append(f"{where}: it has more fields than there are columns")
                continue
            try:
                # A field that is left empty holds nothing; an empty label is that of a video without an event.
                filled = {key: value for key, value in row.items() if value or key in ("label", "classes")}
                yield _Row.model_validate(filled).record(where, path.parent)
            except ValidationError as error:
                faults.extend(f"{where}: {fault}" for fault in _sentences(error))


def _read_folder(path: Path, faults: list[str]) -> Iterator[VideoRecord]:
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    for folder in folders:
        names = frozenset(_as_class_names(folder.name))
        videos = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in MEDIA_SUFFIXES and not file.name.startswith(".")
        )
        if not videos:
            faults.append(f"{folder}: the class has no video")
        for video in videos:
            yield VideoRecord(str(video), video, names)
    if not folders:
        faults.append(f"{path}: it has no folders; expected one per class, and one called normal")


def _read_feature_list(path: Path, faults: list[str]) -> Iterator[VideoRecord]:
    """The crops of a video are put together; each line may carry more after the path, which is left out."""
    crops: dict[Path, list[Path]] = {}
    first: dict[Path, tuple[str, frozenset[str]]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where, file = f"{path.name}, line {number}", path.parent / line.split()[0]
        match = _FEATURE_NAME.fullmatch(file.name)
        if match is None:
            faults.append(f"{where}: {file.name} is not named NAME_label_CODES__CROP.npy")
            continue
        codes = [code for code in match["codes"].split("-") if code not in ("0", _FEATURE_NORMAL)]
        unknown = [code for code in codes if code not in _FEATURE_CLASSES]
        if unknown:
            faults.append(f"{where}: unknown label {', '.join(unknown)}; there are {', '.join(_FEATURE_CLASSES)}")
            continue
        video = file.with_name(match["video"])
        crops.setdefault(video, []).append(file)
        first.setdefault(video, (where, frozenset(codes)))
    for video, files in crops.items():
        where, class_names = first[video]
        yield VideoRecord(where, FeatureFiles(tuple(files), Path(f"{video}__vggish.npy")), class_names)


def _checked(records: Sequence[VideoRecord], faults: list[str]) -> Iterator[VideoRecord]:
    """The records with resolved paths; files that are missing or named twice are faults."""
    seen: dict[Path, str] = {}
    for record in records:
        media = record.media
        files = (media,) if isinstance(media, Path) else (*media.visual, media.audio)
        missing = [file for file in files if not file.is_file()]
        faults.extend(f"{record.where}: there is no file {file}" for file in missing)
        for file in files:
            resolved = file.resolve()
            if resolved in seen:
                faults.append(f"{record.where}: {file.name} is listed already ({seen[resolved]})")
            seen[resolved] = record.where
        yield replace(record, media=media.resolve()) if isinstance(media, Path) else record


def _class_names(records: Sequence[VideoRecord], wanted: Sequence[str] | None, faults: list[str]) -> tuple[str, ...]:
    """All classes. A label that is none of the wanted ones, or a wanted one without a video to train on, is a fault."""
    learnable = Counter(name for record in records if record.split != "val" for name in sorted(record.class_names))
    names = tuple(wanted) if wanted is not None else tuple(learnable)
    for record in records:
        labels = record.class_names | {event.class_name for event in record.events or ()}
        for name in sorted(labels - set(names)):
            known = f"the classes are {', '.join(names)}" if wanted is not None else "no video to train on has it"
            faults.append(f"{record.where}: unknown label {name}; {known}")
    if wanted is not None:
        faults.extend(f"the class {name} has no video to train on" for name in names if not learnable[name])
    return names


def _sentences(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        yield f"{where}: {fault['msg']}" if where else fault["msg"].removeprefix("Value error, ")


def _all_faults(path: Path, faults: Sequence[str]) -> str:
    number = "a mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
    shown = [f"  {fault}" for fault in faults[:_MAX_FAULTS_SHOWN]]
    if len(faults) > _MAX_FAULTS_SHOWN:
        shown.append(f"  and {len(faults) - _MAX_FAULTS_SHOWN} more")
    return "\n".join([f"{path} has {number}:", *shown])
