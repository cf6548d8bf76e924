"""Saved scores: write them once, decide events from them as often as you like.

By the file's suffix: ``.csv`` and ``.parquet`` for other programs (one row per snippet, see ``score_table``), ``.npz``
for everything the scorer knew. The arrays of a NumPy archive are ``schema_version``, ``sources`` ``(S,)``,
``num_snippets`` ``(S,)``, ``classes`` and ``anomaly_classes`` ``(C,)``; and, the sources one after the other,
``start_s``, ``end_s`` ``(N,)``, ``scores``, ``audio_scores``, ``visual_scores`` ``(N, C)``, ``present`` ``(N, 2)``.
Nothing in it is pickled.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import AvdetectError, ScoresError, UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.files import check_target, open_file, replacing
from avdetect.sinks.score_table import (
    MAX_SCORES_BYTES,
    ORDER_TOLERANCE_S,
    common_classes,
    read_csv,
    read_parquet,
    require_pyarrow,
    write_csv,
    write_parquet,
)


def check_scores_path(path: Path) -> None:
    """Notice before an hour of scoring that its scores could not be written.

    Raises:
        UsageError: the suffix is of no format, or the format's package is not installed.
        OutputError: the folder is missing, or ``path`` is a folder itself.
    """
    _format_of(path)
    if path.suffix.lower() == ".parquet":
        require_pyarrow()
    check_target(path)


def write_scores(path: Path | str, curves: Sequence[ScoreCurve]) -> None:
    """Write ``curves``, in the format that the suffix of ``path`` names; the file appears when it is whole.

    Raises:
        UsageError: the suffix is of no format, the format's package is not installed, or the curves differ in their
            classes.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    form = _format_of(path)
    with replacing(path) as temporary:
        form.write(temporary, curves)


def read_scores(path: Path | str) -> list[ScoreCurve]:
    """The curves saved in ``path``, one per source, in the file's order.

    Raises:
        UsageError: the suffix is of no format, or the format's package is not installed.
        ScoresError: the file is missing, damaged or holds something else; the message says where and what.
    """
    path = Path(path)
    form = _format_of(path)
    try:
        curves = form.read(path)
    except AvdetectError:
        raise
    except OSError as error:
        raise ScoresError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # what a damaged file brings out of the libraries that read it
        raise ScoresError(f"{path}: not a file of scores, or a damaged one ({type(error).__name__}).") from error
    if not curves:
        raise ScoresError(f"{path}: holds the scores of no video.")
    for curve in curves:
        if not curve.classes or not all(curve.classes) or len(set(curve.classes)) < len(curve.classes):
            raise ScoresError(f"{path}: its classes must have names, each another.")
        if not curve.source or "\0" in curve.source:
            raise ScoresError(f"{path}: {curve.source!r} is no name of a video.")
    if len({curve.source for curve in curves}) < len(curves):
        raise ScoresError(f"{path}: holds the scores of a video twice.")
    return curves


def _format_of(path: Path) -> _ScoresFormat:
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(f"{path}: scores are kept in files that end in {', '.join(_FORMATS)}.")
    return _FORMATS[suffix]


NPZ_SCHEMA_VERSION = "1.0"

_PER_SNIPPET: dict[str, type[np.generic]] = {
    "start_s": np.float64,
    "end_s": np.float64,
    "scores": np.float32,
    "audio_scores": np.float32,
    "visual_scores": np.float32,
    "present": np.bool_,
}
_PER_FILE = ("schema_version", "sources", "num_snippets", "classes", "anomaly_classes")


def write_npz(path: Path, curves: Sequence[ScoreCurve]) -> None:
    """Write ``curves`` to ``path``."""
    classes, anomaly_classes = common_classes(curves)
    with path.open("wb") as file:  # a path would get ".npz" added where its suffix is another
        np.savez_compressed(
            file,
            schema_version=np.array(NPZ_SCHEMA_VERSION),
            sources=np.array([curve.source for curve in curves]),
            num_snippets=np.array([len(curve.start_s) for curve in curves]),
            classes=np.array(classes),
            anomaly_classes=np.array(anomaly_classes),
            start_s=np.concatenate([curve.start_s for curve in curves]),
            end_s=np.concatenate([curve.end_s for curve in curves]),
            scores=np.concatenate([curve.scores for curve in curves]),
            audio_scores=np.concatenate([curve.audio_scores for curve in curves]),
            visual_scores=np.concatenate([curve.visual_scores for curve in curves]),
            present=np.concatenate([curve.present for curve in curves]),
        )


def read_npz(path: Path) -> list[ScoreCurve]:
    """The curves in ``path``.

    Raises:
        ScoresError: the file is not an archive of scores, or its arrays do not fit together.
    """
    arrays = _load(path)
    version = str(arrays["schema_version"])
    if version.partition(".")[0] != NPZ_SCHEMA_VERSION.partition(".")[0]:
        raise ScoresError(
            f"{path}: written in version {version} of the format, this avdetect reads {NPZ_SCHEMA_VERSION}; update it."
        )
    classes = tuple(map(str, arrays["classes"].tolist()))
    anomaly_classes = tuple(map(bool, arrays["anomaly_classes"].tolist()))
    ends = np.cumsum(arrays["num_snippets"])
    curves = []
    for source, begin, end in zip(arrays["sources"].tolist(), [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        part = slice(begin, end)
        curve = ScoreCurve(
            source=str(source),
            classes=classes,
            anomaly_classes=anomaly_classes,
            start_s=arrays["start_s"][part],
            end_s=arrays["end_s"][part],
            scores=arrays["scores"][part],
            audio_scores=arrays["audio_scores"][part],
            visual_scores=arrays["visual_scores"][part],
            present=arrays["present"][part],
        )
        _check(curve, path)
        curves.append(curve)
    return curves


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays, of the right types and shapes."""
    try:
        # np.load leaves a damaged file open that it opened itself.
        with open_file(path, limit=MAX_SCORES_BYTES) as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ScoresError(f"{path}: holds a single array, not an archive of scores.")
            missing = [name for name in (*_PER_FILE, *_PER_SNIPPET) if name not in archive]
            if missing:
                raise ScoresError(f"{path}: no array is called {', '.join(missing)}; it does not hold scores.")
            _check_sizes(archive.zip, path)
            arrays = {name: archive[name] for name in (*_PER_FILE, *_PER_SNIPPET)}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ScoresError(f"{path}: not a NumPy archive of scores, or a damaged one.") from error
    num_sources, num_classes = arrays["sources"].shape, arrays["classes"].shape
    counts = arrays["num_snippets"]
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ScoresError(f"{path}: num_snippets must hold counts, got {counts.dtype}.")
    rows = (int(counts.sum()),)
    shapes = {
        "sources": (counts.size,),
        "num_snippets": num_sources,
        "anomaly_classes": num_classes,
        "start_s": rows,
        "end_s": rows,
        "scores": rows + num_classes,
        "audio_scores": rows + num_classes,
        "visual_scores": rows + num_classes,
        "present": (*rows, 2),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ScoresError(f"{path}: {name} must have the shape {shape}, got {arrays[name].shape}.")
    for name, dtype in _PER_SNIPPET.items():
        if arrays[name].dtype != dtype:
            raise ScoresError(f"{path}: {name} must be {np.dtype(dtype)}, got {arrays[name].dtype}.")
    return arrays


def _check_sizes(archive: zipfile.ZipFile | None, path: Path) -> None:
    """Refuse what would fill the memory before any of it is unpacked: headers may promise more than there is."""
    total = 0
    assert archive is not None  # numpy has just opened it
    for info in archive.infolist():
        total += info.file_size
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
        if math.prod(shape) * dtype.itemsize > info.file_size:
            raise ScoresError(f"{path}: {info.filename} is damaged: it promises more numbers than it holds.")
    if total > MAX_SCORES_BYTES:
        raise ScoresError(f"{path}: it would unpack to {total >> 20} MiB, more than {MAX_SCORES_BYTES >> 20} are read.")


def _check(curve: ScoreCurve, path: Path) -> None:
    for name in ("scores", "audio_scores", "visual_scores"):
        values = getattr(curve, name)
        if not ((values >= 0.0) & (values <= 1.0)).all():
            raise ScoresError(f"{path}: {name} of {curve.source} must be probabilities from 0 to 1.")
    in_order = curve.start_s[1:] >= curve.end_s[:-1] - ORDER_TOLERANCE_S
    if not (
        np.isfinite(curve.start_s).all()
        and np.isfinite(curve.end_s).all()
        and (curve.start_s < curve.end_s).all()
        and in_order.all()
    ):
        raise ScoresError(f"{path}: the snippets of {curve.source} must have a length and come in order.")


@dataclass(frozen=True, slots=True)
class _ScoresFormat:
    read: Callable[[Path], list[ScoreCurve]]
    write: Callable[[Path, Sequence[ScoreCurve]], None]


_FORMATS = {
    ".csv": _ScoresFormat(read_csv, write_csv),
    ".parquet": _ScoresFormat(read_parquet, write_parquet),
    ".npz": _ScoresFormat(read_npz, write_npz),
}
