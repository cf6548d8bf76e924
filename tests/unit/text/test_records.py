from __future__ import annotations

import json
from pathlib import Path

import pytest

from avdetect.errors import DataError
from avdetect.text.records import read_text_records
from avdetect.timebase import Span


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_every_name_of_a_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    for file, text in (("audio", "text"), ("video", "caption"), ("file", "caption"), ("path", "text")):
        (record,) = read_text_records(write(tmp_path / "m.jsonl", {file: "a.wav", text: "a dog", "class": "animal"}))
        assert (record.media, record.text, record.label) == (tmp_path / "a.wav", "a dog", "animal")


def test_times_of_sounds_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    sounds = [{"start": 5, "end": 6, "text": "late"}, {"start": 1, "end": 2.5, "text": "early", "class": "x"}]
    (record,) = read_text_records(write(tmp_path / "m.jsonl", {"audio": "a.wav", "text": "story", "sounds": sounds}))
    assert record.sounds is not None
    assert [(one.text, one.label, one.span) for one in record.sounds] == [
        ("early", "x", Span(1, 2.5)),
        ("late", None, Span(5, 6)),
    ]


def test_a_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "m.csv").write_text("audio,text,split\na.wav,a dog,val\n", "utf-8")
    (record,) = read_text_records(tmp_path / "m.csv")
    assert (record.text, record.split, record.label) == ("a dog", "val", None)


def test_all_mistakes_are_named_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    manifest = write(
        tmp_path / "m.jsonl",
        {"audio": "a.wav", "text": "..."},
        {"audio": "b.wav", "text": "a dog"},
        {"audio": "a.wav", "text": "a dog", "sounds": [{"start": 3, "end": 2, "text": "x"}]},
        {"text": "a dog"},
        7,
    )
    with pytest.raises(DataError) as caught:
        read_text_records(manifest)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("has 5 mistakes:")
    for number, part in ((1, "no words"), (2, "no file"), (3, "end after it starts"), (4, "audio"), (5, "JSON object")):
        assert any(f"line {number}:" in line and part in line for line in lines)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no list"):
        read_text_records(tmp_path / "none.jsonl")
    (tmp_path / "m.txt").touch()
    with pytest.raises(DataError, match="ends in"):
        read_text_records(tmp_path / "m.txt")
