"""Sounds with captions -> tracks, an alignment, and how good it is: by the commands, with the real text encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.text.records import read_text_records
from avdetect.text.track_files import write_flac
from avdetect_cli.app import app

RATE_HZ = 16_000
pytestmark = [
    pytest.mark.slow,
    # Of transformers and Lightning, none of it about what is done here.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four kinds of sound, two recordings of each, in a manifest with captions, classes and splits."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    times = np.arange(RATE_HZ) / RATE_HZ
    waves = {
        "hiss": rng.standard_normal(RATE_HZ),
        "hum": np.sin(2 * np.pi * 110 * times),
        "whistle": np.sin(2 * np.pi * 2000 * times),
        "clicks": (np.arange(RATE_HZ) % 4000 < 40).astype(float),
    }
    rows = []
    for label, wave in waves.items():
        for split in ("train", "val"):
            write_flac(folder / f"{label}_{split}.flac", (0.3 * wave / np.abs(wave).max()).astype(np.float32), RATE_HZ)
            rows.append({"file": f"{label}_{split}.flac", "caption": f"a {label}", "class": label, "split": split})
    manifest = folder / "sounds.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return manifest


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def compose(sounds: Path, folder: Path, seed: int) -> Path:
    run(
        "compose",
        sounds,
        "-o",
        folder,
        "--split",
        "val",
        "--tracks",
        3,
        "--duration",
        "6-8",
        "--sounds",
        2,
        "--seed",
        seed,
    )
    return folder / "tracks.jsonl"


def test_the_same_seed_composes_the_same_tracks(sounds: Path, tmp_path: Path) -> None:
    one, same, other = (compose(sounds, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()
    assert (one.parent / "track_0000.flac").read_bytes() == (same.parent / "track_0000.flac").read_bytes()
    for record in read_text_records(one):
        assert record.sounds is not None
        assert all(sound.text in record.text.lower() for sound in record.sounds)


def test_sounds_become_an_alignment_that_is_measured(sounds: Path, tmp_path: Path) -> None:
    tracks = compose(sounds, tmp_path / "tracks", 1)
    settings = ("recipe.stage_a_steps=12", "recipe.stage_b_steps=4", "recipe.scene_versions=1", "recipe.max_moments=4")
    chosen = [part for setting in settings for part in ("--set", setting)]
    for name in ("one", "same"):
        run(
            "train-text", sounds, "-o", tmp_path / name, "--embeddings", tmp_path / "scenes", "--device", "cpu", *chosen
        )
    checkpoints = [tmp_path / name / "alignment.safetensors" for name in ("one", "same")]
    found = [json.loads(run("evaluate-text", one, tracks, "--device", "cpu", "--json")) for one in checkpoints]
    assert found[0] | {"model": ""} == found[1] | {"model": ""}
    assert found[0]["retrieval"]["num_tracks"] == 3
    assert found[0]["num_twins"] == 3
    assert found[0]["localisation"]["num_phrases"] == 6
    assert found[0]["classification"] is None
    asked = found[0]["asking"]
    assert {kind: answers["num_heard"] for kind, answers in asked.items()} == {"descriptions": 6, "class names": 6}
    assert all(answers["num_absent"] > 0 for answers in asked.values())
    classes = json.loads(run("evaluate-text", checkpoints[0], sounds, "--device", "cpu", "--json"))["classification"]
    assert classes["num_sounds"] == 4
    assert classes["accuracy"] >= 0.5


def test_the_words_of_a_bundle_are_measured(sounds: Path, tmp_path: Path) -> None:
    tracks = compose(sounds, tmp_path / "tracks", 1)
    found = json.loads(run("evaluate-text", default_bundle_path(), tracks, "--device", "cpu", "--json"))
    assert found["model"] == str(default_bundle_path())
    assert found["retrieval"]["num_tracks"] == 3
    arguments = ["evaluate-text", str(default_bundle_path()), str(tracks), "--bundle", str(default_bundle_path())]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "is a bundle itself" in refused.stderr
