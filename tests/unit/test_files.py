from __future__ import annotations

import os
from pathlib import Path

import pytest

from avdetect.errors import OutputError
from avdetect.files import replacing


def test_an_output_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "events.csv"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "events.csv"
    target.write_text("before")
    with pytest.raises(RuntimeError, match="power cut"), replacing(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_an_output_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    with replacing(tmp_path / "events.csv"):
        pass
    assert (tmp_path / "events.csv").stat().st_mode == other.stat().st_mode


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*nowhere/events\.csv: No such file"),
        replacing(tmp_path / "nowhere" / "events.csv"),
    ):
        pass


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OutputError, match="is not a file"), replacing(target):
            pass
