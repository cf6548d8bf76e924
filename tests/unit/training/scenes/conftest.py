"""A few clips of two cameras, in which a square jumps about or stands still, and a few sounds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avdetect.text.track_files import write_flac
from avdetect.training.scenes.library import Library, SceneMaterial, load_library
from avdetect.training.scenes.material import read_clips, read_sound_files
from tests.synth.clips import write_clip

RATE_HZ = 16_000


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clips.jsonl`` and ``sounds.jsonl``."""
    folder = tmp_path_factory.mktemp("material")
    clips, sounds = [], []
    for place in range(2):
        for number in range(2):
            for lively in (False, True):
                name = f"place{place}-{number}-{'fight' if lively else 'calm'}.mp4"
                write_clip(folder / name, lively=lively, brightness=40 + 60 * place, seed=number)
                clips.append({"file": name, "class": "fight" if lively else "normal", "place": f"camera {place}"})
    random = np.random.default_rng(1)
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    kinds = {
        "ambient": random.standard_normal(len(time_s)) * 0.1,
        "speech": np.sin(2 * np.pi * 200 * time_s) * (np.sin(2 * np.pi * 4 * time_s) > 0),
        "gunshot": random.standard_normal(len(time_s)) * np.exp(-8 * time_s),
    }
    for label, samples in kinds.items():
        name = f"{label}.flac"
        write_flac(folder / name, (samples / np.abs(samples).max() * 0.8).astype(np.float32), RATE_HZ)
        sounds.append({"file": name, "class": label})
    for name, rows in (("clips.jsonl", clips), ("sounds.jsonl", sounds)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


@pytest.fixture(scope="session")
def scene_material(material: Path) -> SceneMaterial:
    clips, sounds = read_clips(material / "clips.jsonl"), read_sound_files(material / "sounds.jsonl")
    return SceneMaterial(clips, sounds, frozenset({"gunshot"}))


@pytest.fixture(scope="session")
def library(scene_material: SceneMaterial) -> Library:
    return load_library(scene_material)
