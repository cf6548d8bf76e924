"""The lists and features of XD-Violence, laid out and named as published: trained on, evaluated, calibrated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner, Result

from avdetect.runtime.bundle_files import read_manifest
from avdetect.sinks.scores import read_scores
from avdetect.training.checkpoint import load_checkpoint
from avdetect_cli.app import app

NUM_CROPS = 5
FRAMES_PER_SNIPPET = 16
TINY = ("--accelerator", "cpu", "--set", "recipe.epochs=6", "--set", "recipe.batch_bags=8")
CODES = ("B1-0-0", "G-B2-0", "A", "A")


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Dataset:
    train: Path
    test: Path
    inside: dict[str, np.ndarray]
    """Video of the test list -> whether each frame lies in violence, as ``gt.npy`` has them one after the other."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("xd")
    lists = root / "list"
    lists.mkdir()
    inside: dict[str, np.ndarray] = {}
    annotations = []
    generator = np.random.default_rng(0)
    for part, visual_folder, num_videos in (("train", "RGB", 8), ("test", "RGBTest", 4)):
        visual_lines, audio_lines = [], []
        for number in range(num_videos):
            codes = CODES[number % len(CODES)]
            name = f"Film.{number}.2003__#00-06-{number:02}_00-10-00_label_{codes}"
            length = 20 + number
            violent = np.zeros(length, bool)
            if codes != "A":
                start = int(generator.integers(2, length - 8))
                violent[start : start + 6] = True
            visual = [root / "i3d-features" / visual_folder / f"{name}__{crop}.npy" for crop in range(NUM_CROPS)]
            audio = root / "vggish-features" / part / f"{name}__vggish.npy"
            for path, dim in [*((path, 1024) for path in visual), (audio, 128)]:
                path.parent.mkdir(parents=True, exist_ok=True)
                values = generator.normal(size=(length, dim))
                values[violent, :16] += 3
                np.save(path, values.astype(np.float32))
            visual_lines += map(str, visual)
            audio_lines.append(str(audio))
            if part == "test":
                inside[name] = np.repeat(violent, FRAMES_PER_SNIPPET)
                if violent.any():
                    annotations.append(f"{name} {start * FRAMES_PER_SNIPPET} {(start + 6) * FRAMES_PER_SNIPPET}")
        suffix = "_test" if part == "test" else ""
        (lists / f"rgb{suffix}.list").write_text("\n".join(visual_lines) + "\n")
        (lists / f"audio{suffix}.list").write_text("\n".join(audio_lines) + "\n")
    (lists / "annotations.txt").write_text("\n".join(annotations) + "\n")
    return Dataset(lists / "rgb.list", lists / "rgb_test.list", inside)


@pytest.mark.parametrize("recipe", ["product", "macil-sd"])
def test_a_list_is_trained_on_and_its_network_evaluated(dataset: Dataset, tmp_path: Path, recipe: str) -> None:
    run("train", dataset.train, "-o", tmp_path / "run", "--val", dataset.test, "--recipe", recipe, *TINY)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    evaluated = run("evaluate", checkpoint, dataset.test, "--json", "--scores", tmp_path / "s.npz", "--device", "cpu")

    names = ("B1", "B2", "G") if recipe == "product" else ("event",)
    found = json.loads(evaluated.stdout)
    curves = read_scores(tmp_path / "s.npz")
    assert set(load_checkpoint(checkpoint).class_names) == set(names)
    assert found["material"]["num_videos"] == len(curves) == len(dataset.inside) == 4
    assert found["material"]["num_events"] == 2

    scores = np.concatenate([np.repeat(curve.anomaly, FRAMES_PER_SNIPPET) for curve in curves])
    published = average_precision_score(np.concatenate(list(dataset.inside.values())), scores)
    assert found["frames"]["anomaly"]["average_precision"] == pytest.approx(published, abs=1e-6)
    if recipe == "product":  # the published recipe learns slowly
        assert published > 0.9


def test_a_bundle_of_a_network_on_features_is_calibrated(dataset: Dataset, tmp_path: Path) -> None:
    run("train", dataset.train, "-o", tmp_path / "run", "--val", dataset.test, *TINY)
    run("export", tmp_path / "run" / "checkpoint.safetensors", "-o", tmp_path / "mine")
    said = run(
        "calibrate", tmp_path / "mine", dataset.test, "--false-alarms-per-hour", "0", "-o", tmp_path / "calibrated"
    )

    assert "0 (0.00 per hour)" in said.stdout
    assert "rgb_test.list" in read_manifest(tmp_path / "calibrated").calibration
