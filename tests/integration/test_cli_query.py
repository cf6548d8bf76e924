"""``avdetect index`` and ``avdetect query``, on the embedded bundle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

import avdetect
from avdetect_cli.app import app
from tests.synth.media import MediaFactory
from tests.synth.schemas import closed, schema

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
"""Shots from 7.0 to 8.8 s, a siren from 12.4 to 17.8 s."""
SIREN, SHOTS = "a siren", "gunshots"


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


def ask(*arguments: str | Path, expect: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("query", *arguments, "--json", expect=expect).stdout)
    jsonschema.validate(document, closed(schema("answer")))
    return document


@pytest.fixture
def folder(tmp_path: Path, media: MediaFactory) -> Path:
    """The demo clip, and below it a video without sound and noise."""
    videos = tmp_path / "videos"
    (videos / "deeper").mkdir(parents=True)
    shutil.copy(DEMO, videos / "demo.mp4")
    shutil.copy(media.flash_and_tone("query-silent.mp4", audio=(), duration_s=2.0), videos / "deeper" / "silent.mp4")
    noise = media.ffmpeg("query-noise.m4a", "-f", "lavfi", "-i", "anoisesrc=color=pink:r=16000:d=2:a=0.1:seed=1")
    shutil.copy(noise, videos / "deeper" / "noise.m4a")
    return videos


@pytest.fixture
def indexed(folder: Path) -> Path:
    run("index", folder)
    return folder


def test_what_is_asked_is_found_where_it_is_heard(indexed: Path) -> None:
    (place,) = ask(indexed, SIREN)["places"]
    assert place["source"] == str(indexed / "demo.mp4")
    assert 11.5 < place["start_s"] < 13
    assert 17 < place["end_s"] < 19
    (place,) = ask(indexed, SHOTS)["places"]
    assert 6 < place["start_s"] < place["peak_s"] < place["end_s"] < 10


def test_an_index_changes_no_answer(folder: Path) -> None:
    before = ask(folder, SIREN)
    assert "3 recordings are heard first" in run("query", folder, SIREN).stderr
    run("index", folder)
    assert ask(folder, SIREN) == before
    assert run("query", folder, SIREN).stderr == ""
    assert ask(folder / ".avdetect-index", SIREN)["places"] == before["places"]
    assert ask(folder / "demo.mp4", SIREN)["places"] == before["places"]


def test_an_index_is_brought_up_to_date(indexed: Path) -> None:
    assert "0 recordings heard, 3 kept, 0 dropped" in run("index", indexed).stderr
    (indexed / "deeper" / "noise.m4a").unlink()
    os.utime(indexed / "demo.mp4", (1, 1))
    shutil.copy(DEMO, indexed / "new.mp4")
    assert "2 recordings are heard first" in run("query", indexed, SIREN).stderr
    said = run("index", indexed).stderr
    assert "2 recordings heard" in said
    assert "1 kept, 1 dropped" in said
    answer = ask(indexed, SIREN)
    assert answer["num_recordings"] == 3
    assert {place["source"] for place in answer["places"]} == {str(indexed / "demo.mp4"), str(indexed / "new.mp4")}


def test_a_bad_file_is_named_at_the_end_and_the_others_are_kept(folder: Path) -> None:
    (folder / "bad.mp4").write_text("this is no video")
    for jobs in ("1", "2"):
        failed = run("index", folder, "--jobs", jobs, expect=1)
        assert "bad.mp4" in failed.stderr.splitlines()[-1]
    assert "0 recordings heard, 3 kept" in failed.stderr
    answer = ask(folder, SIREN, expect=1)
    assert len(answer["places"]) == 1
    assert "bad.mp4" in answer["errors"][0]


def test_a_folder_that_holds_nothing_drops_nothing(indexed: Path, tmp_path: Path) -> None:
    index = indexed / ".avdetect-index"
    shutil.move(indexed, tmp_path / "away")
    indexed.mkdir()
    shutil.copytree(tmp_path / "away" / ".avdetect-index", index)
    assert "holds no media file" in run("index", indexed, expect=1).stderr
    assert ask(index, SIREN)["num_recordings"] == 3


def test_several_folders_share_an_index(folder: Path, tmp_path: Path) -> None:
    assert "say with -o" in run("index", folder, folder / "deeper", expect=2).stderr
    run("index", folder / "demo.mp4", folder / "deeper", "-o", tmp_path / "all.index")
    assert ask(tmp_path / "all.index", SIREN)["num_recordings"] == 3
    assert ask(tmp_path / "all.index", folder, SIREN)["num_recordings"] == 3  # what is in both is asked once


def test_a_story_has_the_time_of_each_phrase(indexed: Path) -> None:
    answer = ask(indexed, f"{SHOTS}, then {SIREN}", "--order", "--within", "0:30")
    assert [phrase["order"] for phrase in answer["query"]["phrases"]] == [0, 1]
    (place,) = answer["places"]
    shots, siren = place["phrases"]
    assert 6 < shots["time_s"] < 10
    assert 12 < siren["time_s"] < 18
    assert place["start_s"] <= shots["time_s"] < siren["time_s"] <= place["end_s"]
    table = run("query", indexed, f"{SHOTS}, then {SIREN}").stdout
    assert f"  {SHOTS}\n" in table
    assert table.index(SHOTS) < table.index(SIREN)


@pytest.mark.parametrize("story", [f"{SIREN}, then {SHOTS}", f"{SHOTS} after {SIREN}"])
def test_a_story_in_the_wrong_order_is_not_found(indexed: Path, story: str) -> None:
    assert len(ask(indexed, story)["places"]) == 1
    assert ask(indexed, story, "--order")["places"] == []
    assert "2 of 2 phrases; a passage needs 2 in the order told" in run("query", indexed, story, "--order").stdout


def test_a_paragraph_is_a_story_of_many_phrases(indexed: Path) -> None:
    told = [SHOTS, *(f"{number} people sing in a choir" for number in range(60)), SIREN]
    paragraph = ". ".join(told)
    assert len(paragraph.split()) > 250
    assert ask(indexed, paragraph)["places"] == []
    (place,) = ask(indexed, paragraph, "--order", "--at-least", "2")["places"]
    assert len(place["phrases"]) == 62
    assert [phrase["text"] for phrase in place["phrases"] if phrase["time_s"] is not None] == [SHOTS, SIREN]


def test_nothing_found_is_an_answer(indexed: Path) -> None:
    said = run("query", indexed, "a cow moos").stdout
    assert "Nothing found in 3 recordings (0:23). The nearest was 0." in said
    assert "a place needs 0." in said
    answer = ask(indexed, "a cow moos")
    assert answer["places"] == []
    assert answer["nearest"]["score"] < answer["query"]["threshold"]
    low = ask(indexed, "a cow moos", "--threshold", "0.001", "--top", "2")
    assert len(low["places"]) == 2


def test_results_go_where_they_are_asked_for(indexed: Path, tmp_path: Path) -> None:
    said = run("query", indexed, SIREN, "-o", tmp_path / "found.json", "--report", tmp_path / "found.html")
    assert "1 place in 3 recordings" in said.stdout
    assert len(json.loads((tmp_path / "found.json").read_text())["places"]) == 1
    page = (tmp_path / "found.html").read_text("utf-8")
    assert "<title>a siren</title>" in page
    assert '"url":"videos/demo.mp4"' in page
    assert page.count('class="entry"') == 1  # only of recordings that have a place
    assert run("query", indexed, SIREN, "--quiet").output == ""


def test_misuse_is_said_before_anything_is_heard(folder: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("a siren",), "name what to look through before the text"),
        ((folder,), "say what to listen for after what to look through"),
        ((folder, SIREN, "--order"), "--order needs several phrases"),
        ((folder, "..."), "has no words to look for"),
        ((folder, SIREN, "--within", "soon"), "--within 'soon' is not a time"),
        ((folder, SIREN, "--report", tmp_path / "page.txt"), "ends in .html"),
        ((folder, SIREN, "-o", tmp_path / "found.csv"), "ends in .json"),
        (("rtsp://camera/1", SIREN), "not of a URL"),
    ):
        failed = run("query", *arguments, expect=2)
        assert message in failed.stderr
        assert "heard first" not in failed.stderr
    assert "there is no folder" in run("query", folder, SIREN, "-o", tmp_path / "no" / "a.json", expect=1).stderr
    assert "an index is made of files" in run("index", "rtsp://camera/1", "-o", tmp_path / "index", expect=2).stderr
    assert not (tmp_path / "index").exists()


def test_an_index_of_another_alignment_is_refused_with_what_to_do(indexed: Path) -> None:
    catalogue = indexed / ".avdetect-index" / "index.json"
    document = json.loads(catalogue.read_text())
    document["made_by"] |= {"sha256": "0" * 64, "bundle": "theirs 3.1"}
    catalogue.write_text(json.dumps(document))
    for command in (("index", indexed), ("query", indexed, SIREN), ("query", catalogue.parent, SIREN)):
        failed = run(*command, expect=1)
        assert "made by the alignment of theirs 3.1" in failed.stderr
        assert "avdetect index --fresh" in failed.stderr
    run("index", indexed, "--fresh")
    assert len(ask(indexed, SIREN)["places"]) == 1
