"""Saved scores: write them once, decide events from them as often as you like.

By the file's suffix: ``.csv`` and ``.parquet`` for other programs (one row per snippet), ``.npz`` for everything
the scorer knew. ``score_table`` says what is estimated when the first two are read back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from avdetect.errors import OutputError, ScoresError, UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.sinks.atomic import replacing
from avdetect.sinks.scores_csv import read_csv, write_csv
from avdetect.sinks.scores_npz import read_npz, write_npz
from avdetect.sinks.scores_parquet import read_parquet, require_pyarrow, write_parquet

__all__ = ["check_scores_path", "read_scores", "write_scores"]


@dataclass(frozen=True, slots=True)
class _ScoresFormat:
    read: Callable[[Path], list[ScoreCurve]]
    write: Callable[[Path, Sequence[ScoreCurve]], None]


_FORMATS = {
    ".csv": _ScoresFormat(read_csv, write_csv),
    ".parquet": _ScoresFormat(read_parquet, write_parquet),
    ".npz": _ScoresFormat(read_npz, write_npz),
}


def check_scores_path(path: Path) -> None:
    """Notice before an hour of scoring that its scores could not be written.

    Raises:
        UsageError: the suffix is of no format, or the format's package is not installed.
        OutputError: the folder is missing, or ``path`` is a folder itself.
    """
    _format_of(path)
    if path.suffix.lower() == ".parquet":
        require_pyarrow()
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder.")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}.")


def write_scores(path: Path, curves: Sequence[ScoreCurve]) -> None:
    """Write ``curves``, in the format that the suffix of ``path`` names; the file appears when it is whole.

    Raises:
        UsageError: the suffix is of no format, the format's package is not installed, or the curves differ in their
            classes.
        OutputError: the file cannot be written.
    """
    form = _format_of(path)
    with replacing(path) as temporary:
        try:
            form.write(temporary, curves)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error


def read_scores(path: Path) -> list[ScoreCurve]:
    """The curves saved in ``path``, one per source, in the file's order.

    Raises:
        UsageError: the suffix is of no format, or the format's package is not installed.
        ScoresError: the file is missing, damaged or holds something else; the message says where and what.
    """
    form = _format_of(path)
    try:
        return form.read(path)
    except OSError as error:
        raise ScoresError(f"cannot read {path}: {error.strerror or error}.") from error


def _format_of(path: Path) -> _ScoresFormat:
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(f"{path}: scores are kept in files that end in {', '.join(_FORMATS)}.")
    return _FORMATS[suffix]
