"""Sounds that have a class -> encoders -> a detector trained with them: by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from avdetect.runtime.bundle_files import read_manifest
from avdetect.text.track_files import write_flac
from avdetect_cli.app import app

RATE_HZ = 16_000
SMALL = ("--steps", 2, "--batch", 1, "--set", "recipe.scene_snippets=2", "--set", "measured_scenes=1")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    times = np.arange(RATE_HZ) / RATE_HZ
    waves = {"hum": np.sin(2 * np.pi * 110 * times), "hiss": rng.standard_normal(RATE_HZ), "bell": np.sin(9000 * times)}
    rows = []
    for label, wave in waves.items():
        for split in ("train", "val"):
            path = folder / f"{label}_{split}.flac"
            write_flac(path, (0.3 * wave / np.abs(wave).max()).astype(np.float32), RATE_HZ)
            rows.append({"file": path.name, "class": label, "split": split})
    manifest = folder / "sounds.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    return manifest


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    output = tmp_path_factory.mktemp("trained") / "encoders"
    return output, run("train-sound", sounds, "-o", output, *SMALL)


def test_sounds_become_a_bundle_of_encoders(trained: tuple[Path, Result]) -> None:
    output, result = trained
    assert result.exit_code == 0, result.stderr
    assert f"{output}: encoders, without a detector; trained on 3 sounds." in result.stderr
    assert "\n  0.30  " in result.stderr
    assert "<- kept" in result.stderr
    notes = read_manifest(output).provenance["encoders"]["audio"]
    assert notes["classes"] == ["bell", "hiss", "hum"]
    assert notes["recipe"]["steps"] == 2
    assert run("bundle", "verify", output).exit_code == 0


def test_show_says_that_it_cannot_score_and_score_says_what_to_do(trained: tuple[Path, Result], tmp_path: Path) -> None:
    output, _ = trained
    shown = run("bundle", "show", output)
    assert shown.exit_code == 0
    assert "none: it holds encoders, to train a detector with, and cannot score" in shown.stdout
    wave = tmp_path / "a.flac"
    write_flac(wave, np.zeros(RATE_HZ, np.float32), RATE_HZ)
    scored = run("score", wave, "--bundle", output)
    assert scored.exit_code == 1
    assert (
        "encoders holds encoders and no detector, so it cannot score: train one with `avdetect train" in scored.stderr
    )


def test_another_share_is_kept_without_training_again(
    trained: tuple[Path, Result], sounds: Path, tmp_path: Path
) -> None:
    output, _ = trained
    before = (output / "audio.onnx").read_bytes()
    result = run("train-sound", sounds, "-o", output, *SMALL, "--resume", "--keep-original", 0.9)
    assert result.exit_code == 0, result.stderr
    assert (output / "audio.onnx").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hold-out", "5/5"], "--hold-out '5/5': write FOLD/FOLDS, as in 0/5"),
        (["--hold-out", "first"], "--hold-out 'first': write FOLD/FOLDS"),
        (["--set", "recipe.stpes=3"], "recipe.stpes: is no setting; did you mean recipe.steps?"),
        (["--resume"], "there is nothing to resume"),
    ],
)
def test_misuse_is_said_in_a_sentence(sounds: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run("train-sound", sounds, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_bundle_is_not_overwritten(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = run("train-sound", sounds, "-o", tmp_path)
    assert result.exit_code == 1
    assert "is there and is not a bundle" in result.stderr


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    result = run("train-sound", tmp_path / "none.jsonl", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"there is no list at {tmp_path / 'none.jsonl'}" in result.stderr
