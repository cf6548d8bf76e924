"""``avdetect evaluate`` and ``avdetect calibrate``, as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import avdetect
from avdetect.events.curve import Rescaling
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify
from avdetect.sinks.scores import read_scores
from avdetect_cli.app import app

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
BUNDLE = default_bundle_path()


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest of two copies of the demo clip, one said to be normal, and their scores."""
    folder = tmp_path_factory.mktemp("material")
    for name in ("a.mp4", "b.mp4"):
        shutil.copyfile(DEMO, folder / name)
    event = {"start": 2.0, "end": 6.0, "class": "gunshot", "modality": "audio"}
    rows = [{"video": "a.mp4", "duration": 21.0, "events": [event]}, {"video": "b.mp4", "duration": 21.0, "label": 0}]
    (folder / "truth.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    run("evaluate", BUNDLE, folder / "truth.jsonl", "--scores", folder / "scores.npz", "--device", "cpu", "--quiet")
    return folder


def test_a_bundle_is_evaluated_and_everything_is_written(material: Path, tmp_path: Path) -> None:
    page, document = tmp_path / "page.html", tmp_path / "document.json"

    said = run(
        "evaluate",
        BUNDLE,
        material / "truth.jsonl",
        *("--page", page, "-o", document, "--device", "cpu", "--jobs", "2"),
    ).stdout

    assert "2 videos, 0:42: 1 with events" in said
    for word in ("any event", "gunshot", "false alarms", "mAP"):
        assert word in said
    written = json.loads(document.read_text("utf-8"))
    assert written["material"]["num_videos"] == 2
    assert written["bundle"]["name"] == read_manifest(BUNDLE).name
    assert "#t=" in page.read_text("utf-8")


def test_saved_scores_give_the_same_figures_as_the_bundle_that_made_them(material: Path, tmp_path: Path) -> None:
    run("evaluate", BUNDLE, material / "truth.jsonl", "-o", tmp_path / "fresh.json", "--device", "cpu")

    saved = json.loads(run("evaluate", material / "scores.npz", material / "truth.jsonl", "--json").stdout)

    fresh = json.loads((tmp_path / "fresh.json").read_text("utf-8"))
    assert saved.pop("bundle") is None
    assert fresh.pop("bundle") is not None
    assert saved == fresh


def test_the_calibrated_bundle_keeps_its_promise_when_it_scores(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated"

    said = run(
        "calibrate",
        BUNDLE,
        material / "truth.jsonl",
        *("--false-alarms-per-hour", "0", "--from-scores", material / "scores.npz", "-o", out),
    ).stdout

    assert "0 (0.00 per hour)" in said
    assert len(verify(out)) == len(verify(BUNDLE))
    found = json.loads(run("evaluate", out, material / "truth.jsonl", "--json", "--device", "cpu").stdout)
    assert found["alarms"]["false_per_normal_hour"] == 0.0
    assert "at most 0 false alarms per hour" in run("bundle", "show", out).stdout


def test_the_scorer_applies_the_temperature_of_the_bundle(material: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, bundle)
    spec = json.loads((bundle / "manifest.json").read_text("utf-8"))
    first = spec["classes"][0]
    first |= {"temperature": 2.0 * first["temperature"], "bias": 0.5 * first["bias"] - 1.0}
    (bundle / "manifest.json").write_text(json.dumps(spec), "utf-8")

    rescored = avdetect.score(DEMO, bundle=avdetect.Bundle.load(bundle, device="cpu")).curve

    plain = read_scores(material / "scores.npz")[0]
    more = np.arange(len(spec["classes"])) == 0
    rescaling = Rescaling(slope=np.where(more, 0.5, 1.0), bias=np.where(more, -1.0, 0.0))
    for name in ("scores", "audio_scores", "visual_scores"):
        expected = rescaling.apply(getattr(plain, name))
        np.testing.assert_allclose(getattr(rescored, name), expected, atol=1e-5)
    assert not np.allclose(rescored.scores[:, 0], plain.scores[:, 0])


def test_a_checkpoint_is_evaluated_as_the_bundle_it_would_become(material: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
    from avdetect.training.checkpoint import Checkpoint, save_checkpoint
    from avdetect.training.embeddings import fingerprint

    spec = read_manifest(BUNDLE)
    torch.manual_seed(0)
    network = TwoStreamNet(
        TwoStreamConfig(
            audio_dim=spec.audio_dim,
            visual_dim=spec.visual_dim,
            num_classes=1,
            hidden_dim=16,
            left_context_snippets=4,
            lookahead_snippets=1,
        )
    )
    checkpoint = tmp_path / "mine.ckpt"
    save_checkpoint(Checkpoint(network.eval(), ("gunshot",), {"encoders": fingerprint(spec)}), checkpoint)

    direct = json.loads(run("evaluate", checkpoint, material / "truth.jsonl", "--json", "--device", "cpu").stdout)

    run("export", checkpoint, "-o", tmp_path / "mine", "--quiet")
    exported = json.loads(
        run("evaluate", tmp_path / "mine", material / "truth.jsonl", "--json", "--device", "cpu").stdout
    )
    assert direct == exported
    assert direct["bundle"]["name"] == "mine"


def test_a_file_that_is_neither_is_refused(material: Path) -> None:
    pytest.importorskip("torch")

    result = run("evaluate", material / "a.mp4", material / "truth.jsonl", expect=1)

    assert "a.mp4" in result.stderr


def test_too_little_material_is_said(material: Path, tmp_path: Path) -> None:
    said = run(
        "calibrate",
        BUNDLE,
        material / "truth.jsonl",
        *("--false-alarms-per-hour", "1", "--from-scores", material / "scores.npz", "-o", tmp_path / "new"),
    ).stdout

    assert "cannot show a rate below 171.4 per hour" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "{bundle}", "{truth}", "--bundle", "{bundle}"], "brings its own thresholds"),
        (["evaluate", "{scores}", "{truth}", "--page", "x.txt"], "ends in .html"),
        (["evaluate", "{scores}", "{truth}", "-o", "{truth}"], "is an input and would be overwritten"),
        (
            ["calibrate", "{bundle}", "{truth}", "--false-alarms-per-hour", "1", "-o", "{bundle}"],
            "is the bundle itself",
        ),
    ],
)
def test_misuse_is_refused_with_a_sentence(material: Path, arguments: list[str], message: str) -> None:
    names = {"bundle": str(BUNDLE), "truth": str(material / "truth.jsonl"), "scores": str(material / "scores.npz")}

    result = run(*(argument.format(**names) for argument in arguments), expect=2)

    assert result.stderr.startswith("avdetect: ")
    assert message in result.stderr


def test_a_folder_that_is_no_bundle_is_not_replaced(material: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    result = run(
        "calibrate",
        BUNDLE,
        material / "truth.jsonl",
        *("--false-alarms-per-hour", "1", "-o", tmp_path / "mine"),
        expect=1,
    )

    assert "is not a bundle" in result.stderr


def test_a_video_that_is_missing_is_named_before_anything_is_scored(tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text('{"video": "gone.mp4", "label": 0}', "utf-8")

    result = run("evaluate", BUNDLE, tmp_path / "truth.jsonl", expect=1)

    assert "truth.jsonl, line 1: there is no file" in result.stderr


def test_a_split_of_a_manifest_is_evaluated_alone(material: Path, tmp_path: Path) -> None:
    table = tmp_path / "all.csv"
    table.write_text("video,label,split\na.mp4,gunshot,train\nb.mp4,normal,val\n")

    everything = run("evaluate", material / "scores.npz", table, "--json")
    held_out = run("evaluate", material / "scores.npz", table, "--json", "--split", "val")

    assert "1 of 2 videos are to train on; --split val leaves them out" in everything.stderr
    assert json.loads(everything.stdout)["material"]["num_videos"] == 2
    assert json.loads(held_out.stdout)["material"]["num_videos"] == 1
    assert held_out.stderr == ""


def test_a_split_without_videos_is_refused(material: Path) -> None:
    said = run("evaluate", material / "scores.npz", material / "truth.jsonl", "--split", "train", expect=2)

    assert "has no video of the split train" in said.stderr


def test_a_manifest_that_is_not_there_is_named(material: Path) -> None:
    assert "there is no list at none.jsonl" in run("evaluate", BUNDLE, "none.jsonl", expect=1).stderr


def test_a_video_that_cannot_be_scored_stops_the_evaluation(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "truth.jsonl").write_text('{"video": "broken.mp4", "label": 0}', "utf-8")

    result = run("evaluate", BUNDLE, tmp_path / "truth.jsonl", "--device", "cpu", expect=1)

    assert "1 of 1 videos could not be scored" in result.stderr


@pytest.mark.dataset
def test_the_default_bundle_on_a_few_videos_of_the_benchmark(tmp_path: Path) -> None:
    folder = Path(os.environ["AVDETECT_DATA"]) / "avbench"
    rows = [json.loads(line) for line in (folder / "val.jsonl").read_text("utf-8").splitlines()[:8]]
    for row in rows:
        row["video"] = str(folder / row["video"])
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")

    found = json.loads(run("evaluate", BUNDLE, tmp_path / "few.jsonl", "--json", "--jobs", "2").stdout)

    assert found["material"]["num_videos"] == 8
    frames = found["frames"]["anomaly"]
    assert frames["average_precision"] > frames["chance"]
    assert 0.0 <= found["alarms"]["detected_share"] <= 1.0
    assert found["alarms"]["false_per_hour"] < 200


def test_footage_without_labels_in_which_nothing_happened_makes_a_bundle_quieter(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    shutil.copyfile(DEMO, tmp_path / "footage" / "night.mp4")
    calibrated = tmp_path / "calibrated"

    said = run(
        "calibrate",
        BUNDLE,
        *(
            "--nothing-happens",
            tmp_path / "footage",
            "--false-alarms-per-day",
            "1",
            "-o",
            calibrated,
            "--device",
            "cpu",
        ),
    ).stdout

    assert "without events: 0 (0.00 per hour)" in said
    rules = {spec.name: spec.rule for spec in read_manifest(calibrated).classes}
    before = {spec.name: spec.rule for spec in read_manifest(BUNDLE).classes}
    assert all(rules[name].on >= before[name].on for name in rules)
    scored = run("score", DEMO, "--bundle", calibrated, "--json", "--quiet", "--device", "cpu")
    assert json.loads(scored.stdout)["events"] == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--false-alarms-per-day", "1"], "nothing to calibrate with"),
        (["--nothing-happens", "."], "how many false alarms are allowed"),
        (["--nothing-happens", "no-such-folder", "--false-alarms-per-day", "1"], "no-such-folder"),
        (["--kept", "no-such.db", "--false-alarms-per-day", "1"], "no-such.db"),
    ],
)
def test_what_to_calibrate_with_and_to_what_must_be_said(tmp_path: Path, arguments: list[str], fault: str) -> None:
    result = CliRunner().invoke(app, ["calibrate", str(BUNDLE), "-o", str(tmp_path / "out"), *arguments])
    assert result.exit_code in (1, 2)
    assert fault in result.output
    assert not (tmp_path / "out").exists()
