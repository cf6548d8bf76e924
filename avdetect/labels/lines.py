"""The lines of a manifest, whatever it lists; everything that is wrong with them is gathered, to be said at once."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

__all__ = ["Faults", "all_faults", "csv_lines", "json_lines", "validated"]

Faults = list[str]
Row = TypeVar("Row", bound=BaseModel)

_MAX_FAULTS_SHOWN = 50


def json_lines(path: Path, faults: Faults) -> Iterator[tuple[str, Any]]:
    """Where each line that is not empty stands, and the value in it."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            where = f"{path.name}, line {number}"
            try:
                yield where, json.loads(line)
            except json.JSONDecodeError as error:
                faults.append(f"{where}: this is not JSON ({error.msg}, column {error.colno})")


def csv_lines(
    path: Path, faults: Faults, *, check_columns: Callable[[set[str]], str | None] | None = None
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Where each row stands, and its fields by column.

    Args:
        path: the table.
        faults: what is wrong with it is added here.
        check_columns: what is wrong with the columns; then no row is read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, restkey="")
        fault = check_columns(set(rows.fieldnames or ())) if check_columns is not None else None
        if fault is not None:
            faults.append(f"{path.name}, line 1: {fault}")
            return
        for row in rows:
            where = f"{path.name}, line {rows.line_num}"
            if "" in row:
                faults.append(f"{where}: it has more fields than there are columns")
            else:
                yield where, row


def validated(model: type[Row], data: Any, where: str, faults: Faults) -> Iterator[Row]:
    """``data`` as a ``model``; nothing where it is none, and a fault for each reason."""
    try:
        yield model.model_validate(data)
    except ValidationError as error:
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            faults.append(f"{where}: {place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}")


def all_faults(path: Path, faults: Sequence[str]) -> str:
    """One message for what is wrong with the manifest at ``path``, a line each."""
    number = "a mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
    shown = [f"  {fault}" for fault in faults[:_MAX_FAULTS_SHOWN]]
    if len(faults) > _MAX_FAULTS_SHOWN:
        shown.append(f"  and {len(faults) - _MAX_FAULTS_SHOWN} more")
    return "\n".join([f"{path} has {number}:", *shown])
