from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avdetect.errors import BundleError, CheckpointError, DataError, UsageError
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.training.motion.config import parse_motion_config, states_folder
from avdetect.training.motion.measure import HeldOut, area_under_roc, share_above
from avdetect.training.motion.train_motion import load_motion, train_motion
from avdetect.training.progress import DataPlan, EpochReport, TrainingOutcome, TrainingPlan
from avdetect_export.graph_builder import GraphBuilder
from tests.synth.moving_clips import write_clips


def small_appearance() -> bytes:
    """An appearance encoder of four convolutions, so that a step takes no time."""
    rng = np.random.default_rng(0)
    g = GraphBuilder("appearance")
    x = g.op("Transpose", g.as_float(g.input("frames", "uint8", ("N", 32, 32, 3))), perm=(0, 3, 1, 2))
    for channels, wanted in ((3, 8), (8, 16), (16, 24), (24, 32)):
        weight = rng.standard_normal((wanted, channels, 3, 3)).astype(np.float32) * np.float32((4.5 * channels) ** -0.5)
        bias = np.zeros(wanted, np.float32)
        shape = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "group": 1}
        x = g.op("Relu", g.op("Conv", x, g.constant(weight, half=True), g.constant(bias), **shape))
    g.output("embedding", g.op("Flatten", g.op("GlobalAveragePool", x), axis=1), "float32", ("N", 32))
    return g.build().SerializeToString(deterministic=True)


APPEARANCE = small_appearance()
TINY = {"epochs": 2, "batch_views": 3, "picture_height": 32, "picture_width": 32, "bottleneck_dim": 4}


class StopsAfter:
    """Breaks off after an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int | None = None) -> None:
        self._epoch = epoch
        self.plan: TrainingPlan | None = None
        self.steps = 0

    def on_data(self, plan: DataPlan) -> None:
        assert plan.videos_by_class["fight"] == (3, 0)

    def on_plan(self, plan: TrainingPlan) -> None:
        self.plan = plan

    def on_step(self, epoch: int, done: int, total: int) -> None:
        self.steps += 1
        if self._epoch is not None and epoch > self._epoch:
            raise KeyboardInterrupt

    def on_epoch(self, report: EpochReport) -> None:
        assert not report.is_best

    def on_end(self, outcome: TrainingOutcome) -> None:
        raise AssertionError("there is no detector to speak of")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(clips: Path, output: Path, **changes: Any) -> Any:
    recipe = {**TINY, **changes.pop("recipe", {})}
    run = {"accelerator": "cpu", "progress": False, **changes.pop("run", {})}
    return parse_motion_config({"clips": clips, "output": output, "recipe": recipe, "run": run, **changes})


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_motion(path, APPEARANCE).network.state_dict()


def test_an_interrupted_run_ends_where_it_would_have_ended(clips: Path, tmp_path: Path) -> None:
    whole = train_motion(config(clips, tmp_path / "whole"), APPEARANCE)
    with pytest.raises(KeyboardInterrupt):
        train_motion(config(clips, tmp_path / "parts"), APPEARANCE, observer=StopsAfter(1))
    observer = StopsAfter()
    parts = train_motion(config(clips, tmp_path / "parts", run={"resume": True}), APPEARANCE, observer=observer)

    assert observer.plan is not None
    assert observer.plan.num_done == 1
    assert observer.steps == 6
    ours, theirs = weights(whole), weights(parts)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_seed_gives_another_encoder(clips: Path, tmp_path: Path) -> None:
    first, second = (
        weights(train_motion(config(clips, tmp_path / f"{seed}", run={"seed": seed}, recipe={"epochs": 1}), APPEARANCE))
        for seed in (0, 1)
    )
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_the_loss_falls_and_events_score_higher(clips: Path, tmp_path: Path) -> None:
    changes = {"epochs": 60, "batch_views": 8, "mixup": 0.0, "synthetic_negatives": False}
    changes |= {"learning_rate": 0.02, "head_learning_rate": 0.05}  # it knows nothing yet
    path = train_motion(config(clips, tmp_path / "run", recipe=changes, hold_out_places=("place2",)), APPEARANCE)

    with (states_folder(tmp_path / "run") / "logs" / "metrics.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 60
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])
    notes = load_motion(path, APPEARANCE).notes
    assert notes["held_out_places"] == ["place2"]
    assert notes["held_out"]["auc"] == 1.0
    assert notes["places"] == 2


def test_what_was_measured_is_kept_in_plain_values(clips: Path, tmp_path: Path) -> None:
    path = train_motion(config(clips, tmp_path / "run", recipe={"epochs": 1}, hold_out_places=("place0",)), APPEARANCE)
    checkpoint = load_motion(path, APPEARANCE)

    assert checkpoint.class_names == ("fight",)
    assert json.loads(json.dumps(checkpoint.notes)) == checkpoint.notes
    assert {"shake", "rain", "all"} <= set(checkpoint.notes["held_out"]["false_positive_share_disturbed"])


def test_training_on_from_another_encoder_is_noticed(clips: Path, tmp_path: Path) -> None:
    path = train_motion(config(clips, tmp_path / "run", recipe={"epochs": 1}), APPEARANCE)
    with pytest.raises(CheckpointError, match="another appearance encoder: give its bundle as --base"):
        load_motion(path, (default_bundle_path() / "audio.onnx").read_bytes())


def test_an_encoder_that_is_not_made_of_pictures_is_refused(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not begin with a convolution of three channels"):
        train_motion(config(clips, tmp_path / "run"), (default_bundle_path() / "audio.onnx").read_bytes())


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([("jump0", "fight"), ("jump1", "fight")], "no clip that is learned from is normal"),
        ([("still0", "normal"), ("glide0", "normal")], "all clips that are learned from are normal"),
    ],
)
def test_clips_that_tell_nothing_apart_are_refused(
    rows: list[tuple[str, str]], fault: str, clips: Path, tmp_path: Path
) -> None:
    path = clips.parent / f"{rows[0][0]}.jsonl"
    path.write_text(
        "".join(json.dumps({"file": f"{name}.mp4", "class": kind, "place": name}) + "\n" for name, kind in rows)
    )
    with pytest.raises(DataError, match=fault):
        train_motion(config(path, tmp_path / "run"), APPEARANCE)
    assert not states_folder(tmp_path / "run").exists()


def test_there_must_be_something_to_resume_and_it_must_be_the_same(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to resume"):
        train_motion(config(clips, tmp_path / "run", run={"resume": True}), APPEARANCE)
    train_motion(config(clips, tmp_path / "run", recipe={"epochs": 1}), APPEARANCE)
    with pytest.raises(UsageError, match="resume with recipe.mixup=0.4, or train anew"):
        train_motion(
            config(clips, tmp_path / "run", run={"resume": True}, recipe={"epochs": 1, "mixup": 0.1}), APPEARANCE
        )


def test_an_unknown_setting_is_an_error(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipe.epoch: "):
        config(clips, tmp_path / "run", recipe={"epoch": 3})


def test_figures_are_those_that_can_be_counted() -> None:
    held_out = HeldOut(
        names=("a", "b", "c", "d"),
        places=("p", "p", "q", "q"),
        is_event=np.array([True, True, False, False]),
        scores=np.array([2.0, 1.0, 1.5, 0.0]),
        disturbed=np.tile([[2.0], [1.0], [1.5], [3.0]], (1, 9)),
    )
    figures = held_out.figures()

    assert figures["auc"] == 0.75
    assert figures["auc_against_disturbed"] == 0.25
    assert figures["false_positive_share"] == 0.5
    assert figures["false_positive_share_disturbed"]["all"] == 1.0
    assert replace(held_out, is_event=np.ones(4, np.bool_)).figures()["auc"] is None
    assert area_under_roc(np.array([1.0]), np.array([1.0])) == 0.5
    assert share_above(np.array([1.0, 2.0, 3.0]), 2.0) == pytest.approx(2 / 3)
