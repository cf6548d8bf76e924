"""A few clips of two cameras, in which a square jumps about or stands still, and a few sounds."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from avdetect.text.track_files import write_flac
from avdetect.training.scenes.library import Library, load_library
from avdetect.training.scenes.material import read_clips, read_sound_files

RATE_HZ = 16_000


def write_clip(path: Path, *, lively: bool, brightness: int, seed: int) -> None:
    """Two seconds of 64x48: a square that jumps about, or one that stands."""
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        top, left = 16, 24
        for _ in range(50):
            if lively:
                top, left = int(random.integers(0, 32)), int(random.integers(0, 48))
            picture = np.full((48, 64, 3), brightness, np.uint8)
            picture[top : top + 16, left : left + 16] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


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
def library(material: Path) -> Library:
    return load_library(
        read_clips(material / "clips.jsonl"),
        read_sound_files(material / "sounds.jsonl"),
        heard_events={"gunshot"},
    )
