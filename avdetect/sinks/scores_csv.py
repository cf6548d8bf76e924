"""Scores as comma-separated values. Numbers are as short as they can be and still read back the same."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avdetect.errors import ScoresError
from avdetect.events.curve import ScoreCurve
from avdetect.sinks.score_table import COLUMNS, ScoreTable, column_order, curves_of, table_of

__all__ = ["read_csv", "write_csv"]


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
    with path.open(encoding="utf-8-sig", newline="") as file:
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
