"""Features that were extracted elsewhere: lists of them as XD-Violence has them, and the files.

    i3d-features/RGB/NAME_label_B1-0-0__0.npy to __4.npy   five crops, (snippets, 1024) each
    vggish-features/train/NAME_label_B1-0-0__vggish.npy    (snippets, 128)
    list/rgb.list, list/audio.list                         one path a line
    list/annotations.txt                                   NAME_label_B1-0-0 START END START END ...

The sound of a video is looked for in the list of sound beside the list of pictures (``rgb`` in its name becomes
``audio``), then beside the pictures. ``annotations.txt`` counts frames, 24 a second; it may be missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.files import kind_of, open_file
from avdetect.labels.videos import FeatureFiles, LabelledVideo, TrueEvent
from avdetect.timebase import Span

FRAME_RATE_HZ = 24
FRAMES_PER_SNIPPET = 16
FEATURE_HOP_S = float(Fraction(FRAMES_PER_SNIPPET, FRAME_RATE_HZ))
"""Seconds from snippet to snippet."""
MAX_MISMATCH_SNIPPETS = 16
"""Largest allowed difference in length between a video's two modalities; both are cut to the shorter."""

_VISUAL_NAME = re.compile(r"(?P<video>.+_label_(?P<codes>[A-Z0-9-]+))__(?P<crop>\d+)\.npy")
_AUDIO_ENDING = "__vggish.npy"
_NORMAL = "A"
_CLASSES = ("B1", "B2", "B4", "B5", "B6", "G")
_ANNOTATIONS = "annotations.txt"

_MAX_ARRAY_BYTES = 2 << 30


def read_feature_list(path: Path, faults: list[str]) -> Iterator[LabelledVideo]:
    """The videos of a list of visual features; the crops of one are put together.

    Args:
        path: the list; relative paths in it are relative to its folder. A line may carry more after the path.
        faults: what is wrong with it is added here.
    """
    crops: dict[Path, list[Path]] = {}
    first: dict[Path, tuple[str, frozenset[str]]] = {}
    for number, file in _listed(path):
        where = f"{path.name}, line {number}"
        match = _VISUAL_NAME.fullmatch(file.name)
        if match is None:
            faults.append(f"{where}: {file.name} is not named NAME_label_CODES__CROP.npy")
            continue
        codes = [code for code in match["codes"].split("-") if code not in ("0", _NORMAL)]
        unknown = [code for code in codes if code not in _CLASSES]
        if unknown:
            faults.append(f"{where}: unknown label {', '.join(unknown)}; there are {', '.join(_CLASSES)}")
            continue
        video = file.with_name(match["video"])
        crops.setdefault(video, []).append(file)
        first.setdefault(video, (where, frozenset(codes)))
    sounds, annotations = _sounds(path), _annotations(path.with_name(_ANNOTATIONS), faults)
    for video, visual in crops.items():
        where, classes = first[video]
        audio = sounds.get(video.name, video.with_name(video.name + _AUDIO_ENDING))
        spans = annotations.get(video.name, None if classes else ())
        yield LabelledVideo(
            name=video.name,
            where=where,
            media=FeatureFiles(tuple(visual), audio),
            classes=classes,
            positive=bool(classes),
            events=None if spans is None else tuple(_event(span, classes) for span in spans),
            fps=FRAME_RATE_HZ,
        )


def read_features(files: FeatureFiles, crop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sound and one crop of the pictures, ``(T, Da)`` and ``(T, Dv)``.

    Raises:
        DataError: they cannot be read, or do not go together.
    """
    audio, visual = (_read_array(path) for path in (files.audio, files.visual[crop]))
    if abs(len(audio) - len(visual)) > MAX_MISMATCH_SNIPPETS:
        raise DataError(
            f"{files.visual[crop]}: {len(visual)} snippets of visual features, {len(audio)} of audio features."
        )
    length = min(len(audio), len(visual))
    return audio[:length], visual[:length]


def read_crops(files: FeatureFiles) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sound and all crops of the pictures, ``(T, Da)`` and ``(crops, T, Dv)``.

    Raises:
        DataError: they cannot be read, or do not go together.
    """
    pairs = [read_features(files, crop) for crop in range(len(files.visual))]
    length = min(len(audio) for audio, _ in pairs)
    if len({visual.shape[1] for _, visual in pairs}) > 1:
        raise DataError(f"{files.visual[0]}: its crops differ in how many numbers a snippet has.")
    return pairs[0][0][:length], np.stack([visual[:length] for _, visual in pairs])


def _read_array(path: Path) -> NDArray[np.float32]:
    try:
        with open_file(path, limit=_MAX_ARRAY_BYTES) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            if math.prod(shape) * dtype.itemsize > _MAX_ARRAY_BYTES:
                raise ValueError("it promises more numbers than a file may hold")
            file.seek(0)
            array = np.load(file, allow_pickle=False)
            np.asarray(array, np.float32)
    except Exception as error:  # what a damaged file brings out of numpy
        raise DataError(f"{path} cannot be read as an array: {error}.") from error
    if array.ndim != 2 or not len(array):
        raise DataError(f"{path} has shape {array.shape}, expected (snippets, numbers).")
    return np.asarray(array, np.float32)


def _listed(path: Path) -> Iterator[tuple[int, Path]]:
    """The number of each line and the file it names."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            named = re.match(r"\s*(.+?\.npy)(\s|$)", line)
            yield number, path.parent / (named[1] if named else line.strip())


def _sounds(path: Path) -> dict[str, Path]:
    """Video -> its audio features, by the list of sound that belongs to the list of pictures."""
    sounds = path.with_name(path.name.replace("rgb", "audio"))
    if sounds == path or kind_of(sounds) != "file":
        return {}
    return {file.name.removesuffix(_AUDIO_ENDING): file for _, file in _listed(sounds)}


def _annotations(path: Path, faults: list[str]) -> Mapping[str, tuple[Span, ...]]:
    """Video -> when something happens, in the order of the start."""
    if kind_of(path) != "file":
        return {}
    found: dict[str, tuple[Span, ...]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        name, *frames = line.split() or [""]
        try:
            times_s = [int(frame) / FRAME_RATE_HZ for frame in frames]
            spans = [Span(start_s, end_s) for start_s, end_s in zip(times_s[::2], times_s[1::2], strict=True)]
        except ValueError:
            faults.append(f"{path.name}, line {number}: expected NAME START END ..., each END after its START")
            continue
        if spans:
            found[name] = tuple(sorted(spans))
    return found


def _event(span: Span, classes: frozenset[str]) -> TrueEvent:
    """The annotations do not say which of a video's classes a span is of: it counts for all of them."""
    names = sorted(classes)
    return TrueEvent(span, "|".join(names), "audio-visual", tuple((name, span) for name in names))
