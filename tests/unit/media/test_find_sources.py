from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from avdetect.errors import UsageError
from avdetect.media.find_sources import find_sources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``a.mp4``, ``b.MKV``, ``sub/c.wav``, and what is no media, as the current folder."""
    for name in ("a.mp4", "b.MKV", "notes.txt", ".hidden.mp4", "sub/c.wav", ".cache/d.mp4", "empty/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_searched_to_any_depth_for_media_that_is_not_hidden(folder: Path) -> None:
    sources, problems = find_sources([str(folder)])

    assert [os.path.relpath(source, folder) for source in sources] == ["a.mp4", "b.MKV", str(Path("sub/c.wav"))]
    assert problems == []


@pytest.mark.usefixtures("folder")
def test_a_named_file_is_taken_whatever_its_suffix_and_even_if_it_is_missing() -> None:
    assert find_sources(["notes.txt", "missing.mp4"]) == (["notes.txt", "missing.mp4"], [])


@pytest.mark.usefixtures("folder")
def test_a_quoted_pattern_is_expanded() -> None:
    assert find_sources(["*.mp4", "**/*.wav"])[0] == ["a.mp4", str(Path("sub/c.wav"))]


@pytest.mark.usefixtures("folder")
def test_a_pattern_that_matches_only_folders_means_what_is_in_them() -> None:
    assert find_sources(["su*"])[0] == [str(Path("sub/c.wav"))]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder: Path) -> None:
    (folder / "take[1].mp4").touch()

    assert find_sources(["take[1].mp4"])[0] == ["take[1].mp4"]


def test_a_source_that_is_named_in_several_ways_is_scored_once(folder: Path) -> None:
    sources, _ = find_sources(["a.mp4", str(folder / "a.mp4"), "*.mp4", "."])

    assert sources == ["a.mp4", f".{os.sep}b.MKV", f".{os.sep}sub{os.sep}c.wav"]


@pytest.mark.usefixtures("folder")
def test_a_folder_or_pattern_without_media_is_a_problem_of_its_own() -> None:
    sources, problems = find_sources(["empty", "*.avi", "a.mp4"])

    assert sources == ["a.mp4"]
    assert [path for path, _ in problems] == ["empty", "*.avi"]
    assert [str(error).split(";")[0] for _, error in problems] == [
        "the folder empty holds no media file",
        "no file matches *.avi.",
    ]


def test_a_url_is_passed_on() -> None:
    assert find_sources(["https://example.org/a*.mp4"])[0] == ["https://example.org/a*.mp4"]


def test_standard_input_is_a_source_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    assert find_sources(["-"])[0] == ["-"]
    with pytest.raises(UsageError, match="once only"):
        find_sources(["-", "-"])


def test_a_terminal_as_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())

    with pytest.raises(UsageError, match="nothing is piped into standard input"):
        find_sources(["-"])
