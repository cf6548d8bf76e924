"""The way of a user with videos of his own: labels, training, a bundle, scores."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from avdetect.labels.video_list import read_labelled_videos
from avdetect.runtime.bundle_files import read_manifest
from avdetect.text.track_files import write_flac
from avdetect.training.checkpoint import load_checkpoint
from avdetect_cli.app import app
from tests.synth.clips import write_clip
from tests.synth.media import MediaFactory

TINY = ("--set", "recipe.epochs=2", "--set", "recipe.hidden_dim=8", "--accelerator", "cpu", "--device", "cpu")


def run(*arguments: str | Path | int, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture
def videos(media: MediaFactory, tmp_path: Path) -> Path:
    """Eight videos, every other one with a flash and a tone, in a folder per class."""
    for number in range(8):
        event = number % 2
        folder = tmp_path / "videos" / ("flash" if event else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        quiet = {"video_filter": "lutyuv=y=16", "audio_filter": "volume=0"}
        made = media.flash_and_tone(f"train-{event}.mp4", duration_s=2.0, **({} if event else quiet))
        (folder / f"{number}.mp4").write_bytes(made.read_bytes())
    return tmp_path / "videos"


@pytest.mark.parametrize("command", ["train", "extract", "export", "import-checkpoint"])
def test_every_command_of_training_explains_itself(command: str) -> None:
    assert run(command, "--help").stdout.startswith("Usage: ")


def test_mistakes_are_said_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,label\na.mp4,fight\nb.mp4,fight\n")
    said = run("train", tmp_path / "m.csv", "-o", tmp_path / "run", expect=1).stderr

    assert "has 2 mistakes:" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--set", "recipe.epochs=none"], "recipe.epochs: "),
        (["--set", "epoch=3"], "epoch: is no setting; did you mean recipe.epochs?"),
        (["--set", "3"], "write KEY=VALUE"),
        (["--precision", "8"], "run.precision: Input should be"),
    ],
)
def test_settings_that_cannot_be_are_misuse(videos: Path, tmp_path: Path, arguments: list[str], fault: str) -> None:
    assert fault in run("train", videos, "-o", tmp_path / "run", *arguments, expect=2).stderr


@pytest.mark.slow
def test_a_folder_of_videos_becomes_a_bundle_that_scores(videos: Path, tmp_path: Path) -> None:
    extracted = run("extract", videos, "-o", tmp_path / "embeddings", "--device", "cpu")
    assert "8 videos extracted, 0 kept" in extracted.stderr
    trained = run("train", videos, "-o", tmp_path / "run", "--embeddings", tmp_path / "embeddings", *TINY)
    for line in (
        "Videos: 6 to train on, 2 to validate with",
        "  flash        3       1",
        "The last epoch will be kept: 2 videos are held out, 1 of them with events; to tell a good epoch",
        "Training the product recipe on cpu: ",
        "epoch     loss",
        "    2    ",
        "Kept: the last epoch\n",
        f"Next: avdetect export {tmp_path / 'run' / 'checkpoint.safetensors'} -o mine/",
        "      avdetect calibrate mine/ LIST --false-alarms-per-hour 1 -o calibrated/",
    ):
        assert line in trained.stderr
    # Before anything is trained.
    assert trained.stderr.index("The last epoch will be kept") < trained.stderr.index("Training the product recipe")
    run("export", tmp_path / "run" / "checkpoint.safetensors", "-o", tmp_path / "mine", "--weights", "float16")
    scored = run("score", videos / "flash" / "1.mp4", "--bundle", tmp_path / "mine", "--device", "cpu", "--json")

    assert read_manifest(tmp_path / "mine").class_names == ("flash",)
    assert '"flash"' in scored.stdout
    with (tmp_path / "run" / "logs" / "metrics.csv").open() as file:
        assert {row["epoch"] for row in csv.DictReader(file)} == {"0", "1"}
    assert list((tmp_path / "run" / "logs").glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_two_processes_train_one_network(videos: Path, tmp_path: Path) -> None:
    arguments = ["train", str(videos), "-o", str(tmp_path / "run"), *TINY, "--devices", "2", "--strategy", "ddp"]
    done = subprocess.run(
        [sys.executable, "-m", "avdetect_cli", *arguments, "--set", "recipe.batch_bags=2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("on cpu, 2 processes: ") == 1
    assert done.stderr.count("Next: avdetect export") == 1
    # Two epochs may teach nothing, and that is said; nothing else is warned of.
    warnings = [line for line in done.stderr.splitlines() if "warn" in line.lower()]
    assert all("hardly differ" in line for line in warnings), warnings
    assert "recommended" not in done.stderr
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").notes["epoch"] in (1, 2)


def test_videos_are_composed_of_clips_and_sounds_and_can_be_evaluated(tmp_path: Path) -> None:
    write_clip(tmp_path / "calm.mp4", lively=False, brightness=60, seed=0)
    write_clip(tmp_path / "fight.mp4", lively=True, brightness=60, seed=1)
    time_s = np.arange(16_000) / 16_000
    for name, samples in (("bed", np.sin(2 * np.pi * 150 * time_s)), ("shot", np.exp(-9 * time_s))):
        write_flac(tmp_path / f"{name}.flac", (0.5 * samples).astype(np.float32), 16_000)
    (tmp_path / "clips.csv").write_text("file,class,place\ncalm.mp4,normal,yard\nfight.mp4,fight,yard\n", "utf-8")
    (tmp_path / "sounds.csv").write_text("file,class\nbed.flac,ambient\nshot.flac,gunshot\n", "utf-8")
    lists = (tmp_path / "sounds.csv", "--clips", tmp_path / "clips.csv", "--events", "gunshot")
    run("compose", *lists, "--tracks", 2, "--normal", 0, "--duration", "6-8", "-o", tmp_path / "videos")
    videos = read_labelled_videos(tmp_path / "videos" / "scenes.jsonl")
    assert [video.positive for video in videos] == [True, True]
    assert all(video.events for video in videos)
    scored = run("score", *(video.path for video in videos), "--json", "--quiet")
    assert len(scored.stdout.splitlines()) == 2


def test_events_without_clips_are_a_mistake(tmp_path: Path) -> None:
    said = run("compose", tmp_path / "sounds.csv", "--events", "gunshot", "-o", tmp_path / "x", expect=2).stderr
    assert "name the clips with --clips" in said
