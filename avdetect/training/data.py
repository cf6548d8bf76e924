"""The data of training: labelled videos, those of them that are held out, and bags of them as tensors."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from avdetect.errors import DataError
from avdetect.files import real_path
from avdetect.labels.feature_files import read_features
from avdetect.labels.video_list import read_labelled_videos
from avdetect.labels.videos import FeatureFiles, LabelledVideo
from avdetect.training.config import TrainConfig
from avdetect.training.embeddings import EmbeddingStore, VideoEmbeddings

__all__ = [
    "Bag",
    "BagBatch",
    "BagDataset",
    "Comparison",
    "Divided",
    "FeatureStatistics",
    "TrainingData",
    "collate",
    "comparison",
    "divide",
    "load_video",
    "read_training_data",
    "statistics",
]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The videos of a data set and the classes of their events."""

    path: Path
    class_names: tuple[str, ...]
    """The classes to learn, in the order of their first appearance, or as asked for."""
    records: tuple[LabelledVideo, ...]

    @property
    def has_features(self) -> bool:
        """It lists features, not videos."""
        return bool(self.records) and isinstance(self.records[0].media, FeatureFiles)


def read_training_data(path: Path, *, class_names: Sequence[str] | None = None, composed: bool = False) -> TrainingData:
    """Read and check a manifest to train from.

    Args:
        path: as ``read_labelled_videos`` takes it.
        class_names: the classes there may be; by default those there are.
        composed: scenes are composed as well, so that a class needs no video.

    Raises:
        DataError: all that is wrong, each with its line.
    """
    records = read_labelled_videos(path, check=partial(_class_faults, path=path, wanted=class_names, composed=composed))
    return TrainingData(path, _class_names(records, class_names), records)


def _class_names(records: Sequence[LabelledVideo], wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is not None:
        return tuple(wanted)
    return tuple(dict.fromkeys(name for record in _to_learn(records) for name in sorted(record.labels)))


def _to_learn(records: Sequence[LabelledVideo]) -> list[LabelledVideo]:
    return [record for record in records if record.split != "val"]


def _class_faults(
    records: Sequence[LabelledVideo], *, path: Path, wanted: Sequence[str] | None, composed: bool
) -> Iterator[str]:
    """A label that is none of the wanted ones, a wanted one without a video to train on, or nothing to learn."""
    names = _class_names(records, wanted)
    for record in records:
        for name in sorted(record.labels - set(names)):
            known = f"the classes are {', '.join(names)}" if wanted is not None else "no video to train on has it"
            yield f"{record.where}: unknown label {name}; {known}"
    learnable = Counter(name for record in _to_learn(records) for name in record.labels)
    if composed:
        return
    if wanted is not None:
        yield from (f"the class {name} has no video to train on" for name in names if not learnable[name])
    elif records and not any(record.positive for record in records):
        yield f"{path}: no video has an event, so there is nothing to learn"


_NO_EVENT = ""


class Divided(NamedTuple):
    """The videos to train on and those held out."""

    class_names: tuple[str, ...]
    train: tuple[LabelledVideo, ...]
    val: tuple[LabelledVideo, ...]

    def videos_by_class(self) -> dict[str, tuple[int, int]]:
        """Count the videos of each class to train on and to validate with; those without any have the empty name."""
        train, val = (Counter(name for record in part for name in _kinds(record)) for part in (self.train, self.val))
        return {name: (train[name], val[name]) for name in (*self.class_names, _NO_EVENT)}


class Comparison(NamedTuple):
    """The metric by which epochs are compared."""

    metric: str | None
    """The metric of which more is better; None where the videos held out cannot tell a good epoch from a lucky one."""
    problem: str | None
    """Why they cannot, as a sentence."""


_FEWEST_TO_TELL = 5
"""Number of videos with a class, and of as many without, that are needed. Scores drawn by lot put 3 before 3 once in
20 times, so that one of 40 epochs looks perfect nearly always; 5 before 5 only once in 252."""


def comparison(divided: Divided, *, one_class: bool) -> Comparison:
    """Decide by what epochs are compared: frame AP where the times of all events are known, else bag AP.

    Args:
        divided: the videos.
        one_class: whether all that is learned is if anything happens.
    """
    videos = divided.val
    if not videos:
        return Comparison(None, "no video is held out to validate with.")
    num_positive = sum(record.positive for record in videos)
    if all(record.events is not None for record in videos):
        metric, evidence = "val_frame_ap", num_positive
    else:
        metric, names = "val_bag_ap", divided.class_names
        rows = [[record.positive] if one_class else [name in record.labels for name in names] for record in videos]
        with_class = np.sum(rows, 0)
        evidence = int(np.minimum(with_class, len(videos) - with_class).sum())
    if evidence < _FEWEST_TO_TELL:
        return Comparison(
            None,
            f"{len(videos)} {'video is' if len(videos) == 1 else 'videos are'} held out, {num_positive} of them with "
            f"events; to tell a good epoch from a lucky one takes {_FEWEST_TO_TELL} of either kind.",
        )
    return Comparison(metric, None)


def divide(data: TrainingData, config: TrainConfig) -> Divided:
    """Decide what to train and what to validate on.

    A split in the manifest is obeyed; where there is none, and no manifest to validate on, ``config.val_share`` of the
    videos of each class, and of those without an event, are held out, the same ones every time.

    Raises:
        DataError: the manifest to validate on has mistakes, or shares videos or lacks classes.
    """
    training = tuple(record for record in data.records if record.split != "val")
    validation = tuple(record for record in data.records if record.split == "val")
    if not training and config.manifest is not None:
        raise DataError(f"{data.path}: all videos are of the split val, there is none to train on.")
    if config.val_manifest is not None:
        if validation:
            raise DataError(f"{data.path} has videos of the split val, and {config.val_manifest} was given as well.")
        validation = read_labelled_videos(config.val_manifest)
        _check_apart(data, config.val_manifest, validation)
    elif not validation and config.val_share > 0:
        held_out = _hold_out(training, config.val_share)
        validation = tuple(record for record in training if record in held_out)
        training = tuple(record for record in training if record not in held_out)
    return Divided(data.class_names, training, validation)


def _check_apart(data: TrainingData, path: Path, validation: Sequence[LabelledVideo]) -> None:
    mine = {real_path(record.path): record.where for record in data.records}
    faults = [
        f"  {record.where}: {record.path.name} is to be trained on ({mine[file]})"
        for record in validation
        if (file := real_path(record.path)) in mine
    ]
    faults += [
        f"  {record.where}: unknown label {name}; no video to train on has it"
        for record in validation
        for name in sorted(record.labels - set(data.class_names))
    ]
    if faults:
        raise DataError(f"{path} does not go with {data.path}:", *faults)


def _hold_out(records: Sequence[LabelledVideo], share: float) -> set[LabelledVideo]:
    """Choose of every class, and of what has no event, about ``share`` of the videos.

    Those whose names' hashes are lowest are taken, so that no order and no seed matters. The rarest class comes first:
    a video may have several, and counts for each of them.
    """
    kinds: dict[str, list[LabelledVideo]] = {}
    for record in sorted(records, key=lambda one: hashlib.sha256(one.path.name.encode()).digest()):
        for kind in _kinds(record):
            kinds.setdefault(kind, []).append(record)
    held_out: set[LabelledVideo] = set()
    left = {kind: len(of_kind) for kind, of_kind in kinds.items()}
    for kind, of_kind in sorted(kinds.items(), key=lambda item: (len(item[1]), item[0])):
        for record in of_kind:
            if len(of_kind) - left[kind] >= _num_held_out(len(of_kind), share):
                break
            if record not in held_out and all(left[other] > 1 for other in _kinds(record)):
                held_out.add(record)
                left.update({other: left[other] - 1 for other in _kinds(record)})
    return held_out


def _kinds(record: LabelledVideo) -> frozenset[str]:
    return record.labels or frozenset({_NO_EVENT})


def _num_held_out(num_videos: int, share: float) -> int:
    """Count how many videos of a kind are held out: at least one, unless that leaves fewer than two to learn from."""
    return max(min(max(round(share * num_videos), 1), num_videos - 2), 0)


class Bag(NamedTuple):
    """One video, or one crop of it."""

    audio: Tensor
    """Float ``[T, Da]``."""
    visual: Tensor
    """Float ``[T, Dv]``."""
    present: Tensor
    """Bool ``[T, 2]`` (audio, visual)."""
    labels: Tensor
    """Float ``[C]``, 1 where the video has the class."""
    video: int
    """Number of the record; the crops of a video share it. -1 for a bag that was drawn from scenes."""
    known: Tensor
    """Float ``[T, 2, C]``: 1 where a class is heard (first) or seen (second), 0 where it is not, -1 where that is not
    known."""


class BagBatch(NamedTuple):
    """Bags padded with zeros to the longest."""

    audio: Tensor
    """Float ``[B, T, Da]``."""
    visual: Tensor
    """Float ``[B, T, Dv]``."""
    present: Tensor
    """Bool ``[B, T, 2]``."""
    num_instances: Tensor
    """int64 ``[B]``."""
    labels: Tensor
    """Float ``[B, C]``."""
    videos: Tensor
    """int64 ``[B]``."""
    known: Tensor
    """Float ``[B, T, 2, C]``; -1 where it is not known, and in the padding."""


class FeatureStatistics(NamedTuple):
    """Mean and deviation of every number of an embedding, over the snippets in which the modality is present."""

    audio_mean: Tensor
    audio_std: Tensor
    visual_mean: Tensor
    visual_std: Tensor


class BagDataset(Dataset[Bag]):
    """The bags of some records. Embeddings are read when asked for.

    Args:
        records: the videos; each crop of one is a bag of its own.
        class_names: C of them. None for one label, whether there is any event.
        load: gives the embeddings of a crop of a record, for instance ``load_video`` with a store.
        max_snippets: of a longer video so many are taken, evenly spread; None for all.
    """

    def __init__(
        self,
        records: Sequence[LabelledVideo],
        class_names: Sequence[str] | None,
        load: Callable[[LabelledVideo, int], VideoEmbeddings],
        *,
        max_snippets: int | None = None,
    ) -> None:
        self.records = tuple(records)
        self._load = load
        self._max_snippets = max_snippets
        self._bags = [(index, crop) for index, record in enumerate(records) for crop in range(num_crops(record))]
        if class_names is None:
            rows = [[record.positive] for record in records]
        else:
            rows = [[name in record.labels for name in class_names] for record in records]
        self.video_labels = torch.tensor(rows, dtype=torch.float32)
        """``[records, C]``."""

    def __len__(self) -> int:
        return len(self._bags)

    def __getitem__(self, index: int) -> Bag:
        video, crop = self._bags[index]
        embeddings = self._load(self.records[video], crop)
        rows = evenly_spread(len(embeddings.present), self._max_snippets)
        return Bag(
            torch.from_numpy(embeddings.audio[rows]),
            torch.from_numpy(embeddings.visual[rows]),
            torch.from_numpy(embeddings.present[rows]),
            self.video_labels[video],
            video,
            # Where a class is not in the whole video, it is in none of its snippets.
            (-self.video_labels[video]).expand(embeddings.present[rows].shape[0], 2, -1),
        )


def evenly_spread(num_snippets: int, at_most: int | None) -> slice | list[int]:
    """All snippets, or ``at_most`` of them from the first to the last."""
    if at_most is None or num_snippets <= at_most:
        return slice(None)
    picked: list[int] = np.linspace(0, num_snippets - 1, at_most, dtype=np.int64).tolist()
    return picked


def collate(bags: Sequence[Bag]) -> BagBatch:
    """Pad bags to the longest."""
    return BagBatch(
        pad_sequence([bag.audio for bag in bags], batch_first=True),
        pad_sequence([bag.visual for bag in bags], batch_first=True),
        pad_sequence([bag.present for bag in bags], batch_first=True),
        torch.tensor([len(bag.present) for bag in bags]),
        torch.stack([bag.labels for bag in bags]),
        torch.tensor([bag.video for bag in bags]),
        pad_sequence([bag.known for bag in bags], batch_first=True, padding_value=-1.0),
    )


def num_crops(record: LabelledVideo) -> int:
    """Count the bags of a record."""
    return len(record.media.visual) if isinstance(record.media, FeatureFiles) else 1


def load_video(record: LabelledVideo, crop: int, store: EmbeddingStore | None) -> VideoEmbeddings:
    """The embeddings of a record: of its features, or from ``store``.

    Raises:
        DataError: they cannot be read.
    """
    if isinstance(record.media, FeatureFiles):
        audio, visual = read_features(record.media, crop)
        return VideoEmbeddings(audio, visual, np.ones((len(audio), 2), np.bool_))
    if store is None:
        raise ValueError(f"{record.media} is a video, and there is no store to read its embeddings from.")
    return store.load(record.media)


def statistics(bags: Dataset[Bag], count: int) -> FeatureStatistics:
    """Mean and standard deviation over the first ``count`` bags; of a modality that is never there, 0 and 1."""
    first = bags[0]
    sums = [_Moments(size) for size in (first.audio.shape[1], first.visual.shape[1])]
    for index in range(count):
        bag = bags[index]
        for total, values, there in zip(sums, (bag.audio, bag.visual), bag.present.unbind(-1), strict=True):
            total.add(values[there])
    return FeatureStatistics(*sums[0].finish(), *sums[1].finish())


class _Moments:
    """Sums, in double precision."""

    def __init__(self, size: int) -> None:
        self.number = 0
        self.total = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        wide = values.double()
        self.number += len(values)
        self.total += wide.sum(0)
        self.squares += (wide * wide).sum(0)

    def finish(self) -> tuple[Tensor, Tensor]:
        if not self.number:
            return torch.zeros(len(self.total)), torch.ones(len(self.total))
        mean = self.total / self.number
        return mean.float(), (self.squares / self.number - mean**2).clamp(min=0).sqrt().float()
