"""Training from features, end to end: small, on the processor, and with an answer that is known."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avdetect.errors import CheckpointError, DataError, UsageError
from avdetect.models.macil_sd import MacilSdNet
from avdetect.models.two_stream import TwoStreamNet
from avdetect.training.checkpoint import load_checkpoint
from avdetect.training.config import parse_config
from avdetect.training.progress import DataPlan, EpochReport, TrainingObserver, TrainingOutcome, TrainingPlan
from avdetect.training.recipe import train

NUM_VIDEOS = 24
TINY = {
    "name": "product",
    "epochs": 3,
    "batch_bags": 8,
    "hidden_dim": 8,
    "num_heads": 2,
    "feed_forward_dim": 8,
    "audio_dropout": 0.0,
    "learning_rate": 0.05,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of features as XD-Violence has them: in every other video a few snippets are loud and lively."""
    folder = tmp_path_factory.mktemp("features")
    random = np.random.default_rng(0)
    lines = []
    for number in range(NUM_VIDEOS):
        name = f"video{number}_label_{'B1-0-0' if number % 2 else 'A'}"
        audio, visual = random.normal(size=(20, 4)), random.normal(size=(20, 6))
        if number % 2:
            audio[5:9] += 6
            visual[7:11] += 6
        np.save(folder / f"{name}__vggish.npy", audio.astype(np.float32))
        np.save(folder / f"{name}__0.npy", visual.astype(np.float32))
        lines.append(f"{name}__0.npy")
    manifest = folder / "rgb.list"
    manifest.write_text("\n".join(lines))
    return manifest


def run(
    manifest: Path,
    output: Path,
    recipe: dict[str, Any] = TINY,
    *,
    observer: TrainingObserver | None = None,
    **choices: Any,
) -> Path:
    options = {"accelerator": "cpu", **choices.pop("run", {})}
    config = {"manifest": manifest, "output": output, "recipe": recipe, "run": options, **choices}
    return train(parse_config(config), observer=observer)


def epochs_in(output: Path) -> list[str]:
    with (output / "logs" / "metrics.csv").open() as file:
        return [row["epoch"] for row in csv.DictReader(file)]


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data: list[DataPlan] = []
        self.plans: list[TrainingPlan] = []
        self.outcomes: list[TrainingOutcome] = []
        self.steps: list[tuple[int, int, int]] = []
        self.epochs: list[EpochReport] = []

    def on_data(self, plan: DataPlan) -> None:
        assert len(self.plans) == len(self.data)  # said before anything is trained
        self.data.append(plan)

    def on_plan(self, plan: TrainingPlan) -> None:
        self.plans.append(plan)

    def on_step(self, epoch: int, done: int, total: int) -> None:
        self.steps.append((epoch, done, total))

    def on_epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)

    def on_end(self, outcome: TrainingOutcome) -> None:
        self.outcomes.append(outcome)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(checkpoint).network.state_dict()


def test_what_tells_the_videos_apart_is_found_in_them(features: Path, tmp_path: Path) -> None:
    trained = load_checkpoint(run(features, tmp_path, {**TINY, "epochs": 15}, schedule="fixed"))

    assert trained.class_names == ("B1",)
    assert isinstance(trained.network, TwoStreamNet)
    audio, visual = (np.load(features.parent / f"video1_label_B1-0-0__{part}.npy") for part in ("vggish", "0"))
    with torch.inference_mode():
        outputs = trained.network(
            torch.from_numpy(audio)[None], torch.from_numpy(visual)[None], torch.ones(1, 20, 2, dtype=torch.bool)
        )
    assert outputs.audio_logits[0, 5:9, 0].min() > outputs.audio_logits[0, 13:, 0].max()
    assert outputs.visual_logits[0, 7:11, 0].min() > outputs.visual_logits[0, 14:, 0].max()


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(features: Path, tmp_path: Path) -> None:
    first, again, other = (
        weights(run(features, tmp_path / name, schedule="fixed", run={"seed": seed}))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_goes_on_where_it_was_interrupted(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third epoch ends the first run; the second one has only that left, and ends as if nothing had happened."""
    from avdetect.training.module import ProductModule

    whole = weights(run(features, tmp_path / "whole", schedule="fixed"))
    step = ProductModule.training_step

    def interrupted(self: ProductModule, batch: Any) -> torch.Tensor:
        if self.current_epoch == 2:
            raise RuntimeError("the power went")
        return step(self, batch)

    monkeypatch.setattr(ProductModule, "training_step", interrupted)
    with pytest.raises(RuntimeError, match="the power went"):
        run(features, tmp_path / "parts", schedule="fixed")
    monkeypatch.setattr(ProductModule, "training_step", step)
    resumed = weights(run(features, tmp_path / "parts", schedule="fixed", run={"resume": True}))

    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor)
    assert epochs_in(tmp_path / "parts") == epochs_in(tmp_path / "whole") == ["0", "1", "2"]


def test_training_goes_on_with_the_same_settings_only(features: Path, tmp_path: Path) -> None:
    run(features, tmp_path)

    with pytest.raises(UsageError, match=r"trained with other settings: resume with recipe.epochs=3, or train anew"):
        run(features, tmp_path, {**TINY, "epochs": 9}, run={"resume": True})


@pytest.mark.parametrize(
    ("recipe", "choices"),
    [
        (TINY, {}),
        (TINY, {"early_stop_epochs": 3, "val_share": 0.45}),
        (TINY | {"contrast_weight": 1.0, "self_distillation": True}, {}),
        ({"name": "macil-sd", "epochs": 3, "batch_bags": 8}, {}),
    ],
    ids=["product", "stopping early", "every loss", "macil-sd"],
)
def test_what_is_over_can_be_resumed_and_stays_as_it_is(
    features: Path, tmp_path: Path, recipe: dict[str, Any], choices: dict[str, Any]
) -> None:
    first = weights(run(features, tmp_path, recipe, **choices))
    again = weights(run(features, tmp_path, recipe, run={"resume": True}, **choices))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert epochs_in(tmp_path) == ["0", "1", "2"]


class Harm:
    """Unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.write_text, (self.target, "code ran")


@pytest.mark.parametrize("content", ["code", "half a file"])
def test_a_state_that_would_run_code_or_is_cut_off_is_refused(features: Path, tmp_path: Path, content: str) -> None:
    output, harmed = tmp_path / "output", tmp_path / "harmed"
    run(features, output)
    last = output / "lightning" / "last.ckpt"
    if content == "code":
        torch.save({"recipe": {}, "epoch": Harm(harmed)}, last)
    else:
        last.write_bytes(last.read_bytes()[:1000])

    with pytest.raises(CheckpointError, match=r"last.ckpt is damaged, or was not written by avdetect train"):
        run(features, output, run={"resume": True})
    assert not harmed.exists()


def test_an_observer_is_told_how_training_goes(features: Path, tmp_path: Path) -> None:
    told = Recorder()
    checkpoint = run(features, tmp_path, observer=told, val_share=0.45)

    ((data,), (plan,), (outcome,)) = told.data, told.plans, told.outcomes
    assert (data.num_train, data.num_val) == (14, 10)
    assert data.videos_by_class == {"B1": (7, 5), "": (7, 5)}
    assert (data.monitored, data.cannot_choose, data.keeps_best) == ("val_bag_ap", None, True)
    assert (plan.device, plan.num_epochs, plan.num_done) == ("cpu", 3, 0)
    assert told.steps == [(epoch, step, 2) for epoch in (1, 2, 3) for step in (1, 2)]
    assert [report.number for report in told.epochs] == [1, 2, 3]
    best = -1.0
    for report in told.epochs:
        assert report.is_best == (report.metrics["val_bag_ap"] >= best)
        best = max(best, report.metrics["val_bag_ap"])
    assert outcome.checkpoint == checkpoint
    assert outcome.epoch == max(report.number for report in told.epochs if report.is_best)


def test_of_equally_good_epochs_the_last_is_kept(features: Path, tmp_path: Path) -> None:
    told = Recorder()
    checkpoint = run(features, tmp_path, {**TINY, "epochs": 12}, observer=told, val_share=0.45)

    perfect = [report.number for report in told.epochs if report.metrics["val_bag_ap"] == 1.0]
    assert len(perfect) > 1
    assert load_checkpoint(checkpoint).notes["epoch"] == perfect[-1]


def test_lightning_says_nothing(features: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(features, tmp_path)

    assert capfd.readouterr() == ("", "")


def test_where_validation_can_tell_nothing_it_is_said_first_and_the_last_epoch_is_kept(
    features: Path, tmp_path: Path
) -> None:
    told = Recorder()
    checkpoint = run(features, tmp_path, observer=told)

    (data,) = told.data
    assert (data.num_val, data.monitored, data.keeps_best) == (4, None, False)
    assert data.cannot_choose == (
        "4 videos are held out, 2 of them with events; to tell a good epoch from a lucky one takes 5 of either kind."
    )
    assert not any(report.is_best for report in told.epochs)
    assert load_checkpoint(checkpoint).notes["epoch"] == 3


def test_videos_held_out_that_are_all_alike_cannot_choose_an_epoch(features: Path, tmp_path: Path) -> None:
    told = Recorder()
    lines = features.read_text().splitlines(keepends=True)
    normal, rest = features.with_name("normal.list"), features.with_name("rest.list")
    normal.write_text("".join([line for line in lines if "label_A" in line][:6]))
    rest.write_text("".join(line for line in lines if line not in normal.read_text()))

    checkpoint = run(rest, tmp_path, val_manifest=normal, observer=told)

    assert told.data[0].cannot_choose is not None
    assert load_checkpoint(checkpoint).notes["epoch"] == 3


def test_a_network_that_learned_nothing_is_told_from_one_that_did(features: Path, tmp_path: Path) -> None:
    told = Recorder()
    run(features, tmp_path / "learned", {**TINY, "epochs": 8}, observer=told)
    run(features, tmp_path / "flat", {**TINY, "epochs": 1, "learning_rate": 1e-9, "hidden_dim": 2}, observer=told)

    learned, flat = told.outcomes
    assert (learned.flat_classes, flat.flat_classes) == ((), ("B1",))
    assert load_checkpoint(flat.checkpoint).notes["flat_classes"] == ["B1"]


def test_there_must_be_something_to_resume(features: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        run(features, tmp_path, run={"resume": True})


def test_the_published_recipe_trains_its_own_network_on_one_class(features: Path, tmp_path: Path) -> None:
    trained = load_checkpoint(run(features, tmp_path, {"name": "macil-sd", "epochs": 2, "batch_bags": 8}))

    assert isinstance(trained.network, MacilSdNet)
    assert trained.class_names == ("event",)


@pytest.mark.parametrize(
    "switch",
    [
        {"contrast_weight": 1.0},
        {"self_distillation": True},
        {"fused_weight": 1.0, "fusion": "sum"},
        {"left_context_snippets": None, "lookahead_snippets": None},
    ],
)
def test_every_switch_of_the_recipe_trains(features: Path, tmp_path: Path, switch: dict[str, Any]) -> None:
    notes = load_checkpoint(run(features, tmp_path, {**TINY, **switch})).notes

    assert notes["config"]["recipe"].items() >= switch.items()
    assert np.isfinite(list(notes["metrics_of_last_epoch"].values())).all()


def test_a_student_comes_close_to_its_teacher(features: Path, tmp_path: Path) -> None:
    teacher = run(features, tmp_path / "teacher", {**TINY, "epochs": 8})
    student = {**TINY, "modality_weight": 0.0, "distillation_weight": 10.0}
    losses = [
        load_checkpoint(
            run(features, tmp_path / str(epochs), {**student, "epochs": epochs}, teacher=teacher, schedule="fixed")
        ).notes["metrics_of_last_epoch"]["loss_teacher"]
        for epochs in (1, 20)
    ]

    assert losses[1] < 0.5 * losses[0]


def test_training_stops_when_validation_no_longer_improves(features: Path, tmp_path: Path) -> None:
    checkpoint = run(features, tmp_path, {**TINY, "epochs": 40}, early_stop_epochs=2, val_share=0.45)

    assert len((tmp_path / "logs" / "metrics.csv").read_text().splitlines()) < 40
    assert load_checkpoint(checkpoint).notes["metrics_of_last_epoch"]["val_bag_ap"] > 0.9


def test_what_is_validated_on_must_not_be_trained_on(features: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rgb.list, line 1: .* is to be trained on \(rgb.list, line 1\)"):
        run(features, tmp_path, val_manifest=features)


def test_to_stop_early_there_must_be_enough_to_validate_on(features: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too little is held out to validate on, so training cannot stop early"):
        run(features, tmp_path, early_stop_epochs=2)
