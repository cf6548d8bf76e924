"""The way of a user with short clips: a motion encoder, a bundle, a detector that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from avdetect.runtime.bundle_files import read_manifest
from avdetect_cli.app import app
from tests.synth.moving_clips import write_clips

TINY = ("--epochs", "1", "--set", "recipe.batch_views=3", "--set", "recipe.picture_height=32")
SMALL = (*TINY, "--set", "recipe.picture_width=32", "--accelerator", "cpu")


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


def test_clips_become_encoders_and_a_detector_that_reads_them(clips: Path, tmp_path: Path) -> None:
    said = run("train-motion", clips, "-o", tmp_path / "encoders", *SMALL, "--hold-out-places", "place1").stderr

    assert "Places held out: AUC" in said
    assert f"`avdetect train --bundle {tmp_path / 'encoders'} ...`" in said
    notes = read_manifest(tmp_path / "encoders").provenance["encoders"]["motion"]
    assert (notes["clips"], notes["places"], notes["held_out_clips"]) == (6, 2, 3)

    rows = [json.loads(line) for line in clips.read_text().splitlines()]
    videos = clips.parent / "videos.jsonl"
    videos.write_text(
        "".join(json.dumps({"video": r["file"], "label": r["class"], "split": "train"}) + "\n" for r in rows)
    )
    settings = ("--set", "recipe.epochs=1", "--set", "recipe.hidden_dim=8", "--accelerator", "cpu", "--device", "cpu")
    run("train", videos, "-o", tmp_path / "run", "--bundle", tmp_path / "encoders", "-q", *settings)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    run("export", checkpoint, "--base", tmp_path / "encoders", "-o", tmp_path / "mine")
    scored = run("score", clips.parent / "jump0.mp4", "--bundle", tmp_path / "mine", "--json", "--device", "cpu")
    assert json.loads(scored.stdout)["bundle"]["name"] == "mine"


def test_training_goes_on_where_it_ended(clips: Path, tmp_path: Path) -> None:
    run("train-motion", clips, "-o", tmp_path / "encoders", *SMALL, "-q")
    run("train-motion", clips, "-o", tmp_path / "encoders", *SMALL, "-q", "--resume")
    assert (tmp_path / "encoders.training" / "logs" / "metrics.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["nowhere.jsonl", "-o", "encoders"], 1, "there is no list at nowhere.jsonl"),
        (["{clips}", "-o", "encoders", "--hold-out-places", "attic"], 2, "no clip is of the place attic"),
        (["{clips}", "-o", "encoders", "--resume"], 2, "there is nothing to resume"),
        (["{clips}", "-o", "encoders", "--base", "nowhere"], 1, "nowhere"),
        (["{clips}", "-o", "no/such/encoders"], 1, "there is no folder"),
        (
            ["{clips}", "-o", "encoders", "--set", "recipe.epoch=3"],
            2,
            "did you mean recipe.epochs?",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], code: int, fault: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("train-motion", *(text.format(clips=clips) for text in arguments), expect=code).stderr

    assert said.startswith("avdetect: ")
    assert fault in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "encoders").exists()
    assert not (tmp_path / "encoders.training").exists()


def test_a_file_that_is_no_video_is_named(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.mp4").write_bytes(b"nothing")
    (tmp_path / "clips.jsonl").write_text(
        json.dumps({"file": "odd.mp4", "class": "fight", "place": "a"})
        + "\n"
        + json.dumps({"file": str(clips.parent / "still0.mp4"), "class": "normal", "place": "a"})
        + "\n"
    )
    said = run("train-motion", tmp_path / "clips.jsonl", "-o", tmp_path / "encoders", *SMALL, expect=1).stderr
    assert "odd.mp4 cannot be read as video" in said
