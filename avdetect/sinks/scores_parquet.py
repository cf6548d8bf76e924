"""Scores as Apache Parquet, the same columns as CSV: times in float64, scores in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avdetect.errors import ScoresError, UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.sinks.score_table import COLUMNS, ScoreTable, column_order, curves_of, table_of

__all__ = ["read_parquet", "require_pyarrow", "write_parquet"]


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
        with path.open("rb") as file:
            columns = pyarrow.parquet.ParquetFile(file).read()
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
