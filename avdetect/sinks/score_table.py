"""Scores as a table: one row per snippet, as CSV and Parquet hold it, and the curves it stands for.

The table has one number per class (the fused score) and, for sound and picture, one number for all anomaly classes
together. What a curve has beyond that is estimated when it is read back: every class gets the row's ``audio`` and
``visual`` as its own audio-only and visual-only score, so the modality of an event is what carried the anomaly at that
time; a class counts as anomaly unless it exceeds ``anomaly`` somewhere; a modality whose score is zero was absent. A
snippet with neither sound nor picture is written as a row of zeros, and only that.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import ScoresError, UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.files import open_file

COLUMNS = ("video", "start", "end", "anomaly", "audio", "visual")
"""The columns before one column per class. Times are in seconds from the grid's origin."""

ORDER_TOLERANCE_S = 1e-3
"""A snippet may start this much before the last one ended: times are often rounded to a millisecond."""

MAX_SCORES_BYTES = 2 << 30
"""Of a file, and of what it unpacks to: a thousand hours of scores."""

Where = Callable[[int], str]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """``N`` rows and ``C`` classes."""

    videos: list[str]
    """The source of each row."""
    classes: tuple[str, ...]
    times: NDArray[np.float64]
    """``start`` and ``end``, ``(N, 2)``."""
    scores: NDArray[np.float32] | NDArray[np.float64]
    """``anomaly``, ``audio``, ``visual`` and the classes, ``(N, 3 + C)``."""


def common_classes(curves: Sequence[ScoreCurve]) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The classes that all ``curves`` share, and which of them count as anomaly.

    Raises:
        UsageError: there is no curve, or they differ in their classes.
    """
    if not curves:
        raise UsageError("there are no scores to write.")
    first = curves[0]
    for curve in curves:
        if (curve.classes, curve.anomaly_classes) != (first.classes, first.anomaly_classes):
            raise UsageError(
                f"scores of different classes cannot share a file: {first.source} has {', '.join(first.classes)}; "
                f"{curve.source} has {', '.join(curve.classes)}."
            )
    return first.classes, first.anomaly_classes


def table_of(curves: Sequence[ScoreCurve]) -> ScoreTable:
    """The rows of ``curves``, one after the other."""
    classes, _ = common_classes(curves)
    blocks = [
        np.column_stack((curve.anomaly, curve.audio, curve.visual, curve.scores))
        * (curve.present[:, :1] | curve.present[:, 1:])
        for curve in curves
    ]
    return ScoreTable(
        videos=[curve.source for curve in curves for _ in range(len(curve.start_s))],
        classes=classes,
        times=np.concatenate([np.column_stack((curve.start_s, curve.end_s)) for curve in curves]),
        scores=np.concatenate(blocks).astype(np.float32),
    )


def column_order(header: Sequence[str], path: object) -> tuple[list[int], list[int]]:
    """Find the positions of ``COLUMNS`` and of the classes in ``header``.

    Raises:
        ScoresError: a column is missing or there is no class.
    """
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ScoresError(
            f"{path}: no column is called {', '.join(missing)}; a file of scores has the columns "
            f"{','.join(COLUMNS)} and one for each class."
        )
    fixed = [list(header).index(name) for name in COLUMNS]
    classes = [column for column in range(len(header)) if column not in fixed]
    if not classes:
        raise ScoresError(f"{path}: there is no column of a class after {','.join(COLUMNS)}.")
    names = [header[column] for column in classes]
    if len(set(names)) != len(names) or "" in names:
        raise ScoresError(f"{path}: the names of the classes must be distinct and not empty, got {', '.join(names)}.")
    return fixed, classes


def curves_of(table: ScoreTable, path: object, where: Where) -> list[ScoreCurve]:
    """The curves that ``table`` holds, in the order of their first rows, checked.

    Args:
        table: what was read.
        path: of the file, for messages.
        where: the place of a row in the file, in words, for messages.

    Raises:
        ScoresError: a value is out of range, or the times of a video are not in order.
    """
    _check_values(table, path, where)
    rows: dict[str, list[int]] = {}
    for row, video in enumerate(table.videos):
        rows.setdefault(video, []).append(row)
    if not rows:
        raise ScoresError(f"{path}: there is no snippet in it.")
    # A class above the highest of the anomaly classes is none of them.
    counts = tuple(bool((column <= table.scores[:, 0]).all()) for column in table.scores[:, 3:].T)
    return [_curve(table, video, np.array(chosen), counts, path, where) for video, chosen in rows.items()]


def _check_values(table: ScoreTable, path: object, where: Where) -> None:
    times, scores = table.times, table.scores
    bad = np.argwhere(~((scores >= 0.0) & (scores <= 1.0)))
    if len(bad):
        row, column = bad[0]
        name = (*COLUMNS[3:], *table.classes)[column]
        raise ScoresError(f"{path}, {where(row)}: {name} must be a probability from 0 to 1, got {scores[row, column]}.")
    bad_rows = np.flatnonzero(~(np.isfinite(times).all(axis=1) & (times[:, 0] < times[:, 1])))
    if len(bad_rows):
        row = bad_rows[0]
        raise ScoresError(
            f"{path}, {where(row)}: a snippet must end after it starts, got {times[row, 0]} to {times[row, 1]}."
        )


def _curve(
    table: ScoreTable, video: str, rows: NDArray[np.intp], anomaly: tuple[bool, ...], path: object, where: Where
) -> ScoreCurve:
    start_s, end_s = table.times[rows].T
    early = np.flatnonzero(start_s[1:] < end_s[:-1] - ORDER_TOLERANCE_S)
    if len(early):
        raise ScoresError(
            f"{path}, {where(int(rows[early[0] + 1]))}: the snippets of {video} must come in order, but this one "
            f"starts at {start_s[early[0] + 1]}, before the last one ended ({end_s[early[0]]})."
        )
    scores = table.scores[rows].astype(np.float32)
    heard, seen = scores[:, 1] > 0, scores[:, 2] > 0
    neither_known = (scores > 0).any(axis=1) & ~heard & ~seen
    shape = (len(rows), len(table.classes))
    return ScoreCurve(
        source=video,
        classes=table.classes,
        anomaly_classes=anomaly,
        start_s=np.ascontiguousarray(start_s),
        end_s=np.ascontiguousarray(end_s),
        scores=np.ascontiguousarray(scores[:, 3:]),
        audio_scores=np.ascontiguousarray(np.broadcast_to(scores[:, 1:2], shape)),
        visual_scores=np.ascontiguousarray(np.broadcast_to(scores[:, 2:3], shape)),
        present=np.column_stack((heard | neither_known, seen | neither_known)),
    )


def write_csv(path: Path, curves: Sequence[ScoreCurve]) -> None:
    """Write ``curves`` to ``path``."""
    table = table_of(curves)
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, *table.classes))
        # str() of a float32 is the shortest text that rounds back to it; tolist() would widen it first.
        writer.writerows(
            (video, *times, *map(str, scores))
            for video, times, scores in zip(table.videos, table.times.tolist(), table.scores, strict=True)
        )


def read_csv(path: Path) -> list[ScoreCurve]:
    """The curves in ``path``; a byte order mark, any line ends, and columns in any order are taken.

    Raises:
        ScoresError: the file is not a table of scores; the message names the line.
    """
    videos: list[str] = []
    numbers: list[list[float]] = []
    lines: list[int] = []
    with io.TextIOWrapper(open_file(path, limit=MAX_SCORES_BYTES), encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, None)
            if header is None:
                raise ScoresError(f"{path}: the file is empty.")
            fixed, class_columns = column_order(header, path)
            wanted = [*fixed[1:], *class_columns]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise ScoresError(
                        f"{path}, line {reader.line_num}: {len(row)} values, the header has {len(header)} columns."
                    )
                videos.append(row[fixed[0]])
                numbers.append([_number(row[column], header[column], path, reader.line_num) for column in wanted])
                lines.append(reader.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ScoresError(f"{path}: not a table of comma-separated values in UTF-8 ({error}).") from error
    values = np.array(numbers, np.float64).reshape(len(numbers), len(wanted))
    table = ScoreTable(
        videos=videos,
        classes=tuple(header[column] for column in class_columns),
        times=values[:, :2],
        scores=values[:, 2:],
    )
    return curves_of(table, path, lambda row: f"line {lines[row]}")


def _number(text: str, column: str, path: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise ScoresError(f"{path}, line {line}: {column} must be a number, got {text!r}.") from None


def require_pyarrow() -> Any:
    """The package ``pyarrow``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "Parquet files need pyarrow, which is not installed: pip install 'avdetect[parquet]', or choose .csv "
            "or .npz."
        ) from error
    return pyarrow


def write_parquet(path: Path, curves: Sequence[ScoreCurve]) -> None:
    """Write ``curves`` to ``path``."""
    pyarrow = require_pyarrow()
    table = table_of(curves)
    # A file name that is not valid Unicode has no place in a Parquet string.
    videos = [video.encode("utf-8", "backslashreplace").decode() for video in table.videos]
    columns = [pyarrow.array(videos, pyarrow.string())]
    columns += [pyarrow.array(np.ascontiguousarray(column)) for column in (*table.times.T, *table.scores.T)]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names=[*COLUMNS, *table.classes]), path)


def read_parquet(path: Path) -> list[ScoreCurve]:
    """The curves in ``path``.

    Raises:
        ScoresError: the file is not a table of scores; the message names the row, counted from 1.
    """
    pyarrow = require_pyarrow()
    try:
        with open_file(path, limit=MAX_SCORES_BYTES) as file:
            table_file = pyarrow.parquet.ParquetFile(file)
            promised = table_file.metadata.num_rows * table_file.metadata.num_columns * 8
            if promised > MAX_SCORES_BYTES:
                raise ScoresError(f"{path}: it would unpack to {promised >> 20} MiB, more than is read.")
            columns = table_file.read()
    except pyarrow.ArrowException as error:
        raise ScoresError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}).") from error
    header = columns.column_names
    fixed, class_columns = column_order(header, path)
    values = [_numbers(columns.column(column), header[column], path) for column in [*fixed[1:], *class_columns]]
    table = ScoreTable(
        videos=[str(video) for video in columns.column(fixed[0]).to_pylist()],
        classes=tuple(header[column] for column in class_columns),
        times=np.column_stack(values[:2]),
        scores=np.column_stack(values[2:]),
    )
    return curves_of(table, path, lambda row: f"row {row + 1}")


def _numbers(column: Any, name: str, path: Path) -> Any:
    """A column as float64, ``(N,)``; missing values become NaN, which no check lets pass."""
    try:
        return column.cast("float64").to_numpy()
    except require_pyarrow().ArrowException as error:
        raise ScoresError(f"{path}: the column {name} must hold numbers, got {column.type}.") from error
