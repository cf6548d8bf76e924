"""What there is to train from: labelled videos, and the classes to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avdetect.labels.video_list import read_labelled_videos
from avdetect.labels.videos import FeatureFiles, LabelledVideo

__all__ = ["DataManifest", "read_data_manifest"]


@dataclass(frozen=True, slots=True)
class DataManifest:
    """The videos of a data set and the classes of their events."""

    path: Path
    class_names: tuple[str, ...]
    """In the order of their first appearance, or as asked for."""
    records: tuple[LabelledVideo, ...]

    @property
    def has_features(self) -> bool:
        """It lists features, not videos."""
        return isinstance(self.records[0].media, FeatureFiles)


def read_data_manifest(path: Path, *, class_names: Sequence[str] | None = None) -> DataManifest:
    """Read and check a manifest to train from.

    Args:
        path: as ``read_labelled_videos`` takes it.
        class_names: the classes there may be; by default those there are.

    Raises:
        DataError: all that is wrong, each with its line.
    """
    records = read_labelled_videos(path, check=partial(_class_faults, path=path, wanted=class_names))
    return DataManifest(path, _class_names(records, class_names), records)


def _class_names(records: Sequence[LabelledVideo], wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is not None:
        return tuple(wanted)
    return tuple(dict.fromkeys(name for record in _to_learn(records) for name in sorted(record.labels)))


def _to_learn(records: Sequence[LabelledVideo]) -> list[LabelledVideo]:
    return [record for record in records if record.split != "val"]


def _class_faults(records: Sequence[LabelledVideo], *, path: Path, wanted: Sequence[str] | None) -> Iterator[str]:
    """A label that is none of the wanted ones, a wanted one without a video to train on, or nothing to learn."""
    names = _class_names(records, wanted)
    for record in records:
        for name in sorted(record.labels - set(names)):
            known = f"the classes are {', '.join(names)}" if wanted is not None else "no video to train on has it"
            yield f"{record.where}: unknown label {name}; {known}"
    learnable = Counter(name for record in _to_learn(records) for name in record.labels)
    if wanted is not None:
        yield from (f"the class {name} has no video to train on" for name in names if not learnable[name])
    elif records and not any(record.positive for record in records):
        yield f"{path}: no video has an event, so there is nothing to learn"
