"""What a name stands for, before FFmpeg sees it: files, named pipes, devices, URLs, and names that lead nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avdetect.errors import MediaError
from avdetect.media.live_options import LiveOptions
from avdetect.media.location import ends_by_itself, identity, locate


@pytest.mark.parametrize(
    ("url", "options", "ends"),
    [
        ("-", LiveOptions(), True),
        ("clip.mp4", LiveOptions(), True),
        ("clip.mp4", LiveOptions(realtime=True), True),
        ("clip.mp4", LiveOptions(loop=True), False),
        ("pipe", LiveOptions(), True),
        ("/dev/null", LiveOptions(), False),
        ("hw:0", LiveOptions(input_format="alsa"), False),
        ("clip.mp4", LiveOptions(input_format="s16le"), True),
        ("rtsp://camera/stream", LiveOptions(), False),
        ("rtsp://camera/stream", LiveOptions(realtime=True), False),
    ],
)
def test_what_ends_by_itself(
    url: str, options: LiveOptions, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").write_bytes(b"media")
    os.mkfifo("pipe")
    assert ends_by_itself(url, options) is ends


@pytest.fixture
def odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("circle.mp4").symlink_to("circle.mp4")
    Path("astray.mp4").symlink_to("nowhere.mp4")
    Path("long.mp4").write_bytes(b"media")
    Path("folder.mp4").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("circle.mp4", "circle.mp4: cannot be read: Too many levels of symbolic links"),
        ("astray.mp4", "astray.mp4: leads to no file"),
        ("folder.mp4", "is a directory"),
        ("a" * 300, "cannot be read: File name too long"),
        ("nul\0.mp4", "not a file name"),
        ("long.mp4/inside.mp4", "cannot be read: Not a directory"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_in_one_sentence(odd_names: Path, name: str, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        locate(name)
    assert identity(name)


def test_two_names_of_one_file_are_the_same(odd_names: Path) -> None:
    Path("link.mp4").symlink_to("long.mp4")
    assert identity("link.mp4") == identity("./long.mp4") == str(odd_names.resolve() / "long.mp4")
    assert identity("astray.mp4") == identity("nowhere.mp4")
    assert identity("-") == "-"
    assert identity("http://host/a") == "http://host/a"
