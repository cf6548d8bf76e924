from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from avdetect.errors import DataError, UsageError
from avdetect.manifest import Manifest
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.training.graph_module import GraphModule
from avdetect.training.sound.config import SoundTrainConfig, parse_sound_config
from avdetect.training.sound.train_sound import TrainedSound, divide, states_folder, train_sound

RATE_HZ = 16_000
RECIPE = {"steps": 6, "save_steps": 4, "batch_scenes": 1, "scene_snippets": 4, "frozen_layers": 20}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """The same numbers need the same order of additions."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle() -> tuple[onnx.ModelProto, Manifest]:
    folder = Path(default_bundle_path())
    manifest = read_manifest(folder)
    assert manifest.audio is not None
    return onnx.load(folder / manifest.audio.graph), manifest


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of each of three classes: low and high tones, and noise; one of each is of split val."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    lines = []
    for number in range(3):
        made = {
            "glass": np.sin(2 * np.pi * (3000 + 300 * number) * time_s),
            "gunshot": np.sin(2 * np.pi * (300 + 40 * number) * time_s),
            "ambient": 0.3 * rng.standard_normal(len(time_s)),
        }
        for label, samples in made.items():
            path = folder / f"{label}{number}.wav"
            write_wav(path, samples)
            split = "val" if number == 2 else "train"
            lines.append({"file": path.name, "class": label, "split": split, "origin": f"{label} {number}"})
    manifest = folder / "sounds.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    return manifest


def write_wav(path: Path, samples: np.ndarray[Any, Any]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32_000).astype("<i2").tobytes())


def config_of(sounds: Path, output: Path, **changes: Any) -> SoundTrainConfig:
    values: dict[str, Any] = {
        "manifest": sounds,
        "output": output,
        "measured_scenes": 3,
        "recipe": RECIPE | changes.pop("recipe", {}),
        "run": {"progress": False, "accelerator": "cpu"} | changes.pop("run", {}),
    }
    return parse_sound_config(values | changes)


def losses(output: Path) -> list[float]:
    lines = (states_folder(output) / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    return [float(line.split(",")[column]) for line in lines[1:]]


def weights_of(trained: TrainedSound) -> dict[str, bytes]:
    return {one.name: one.raw_data for one in trained.graph.graph.initializer}


def test_the_loss_falls_and_the_encoder_changes_and_still_embeds(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    encoder, manifest = bundle
    longer = {"steps": 40, "save_steps": 10, "batch_scenes": 2, "head_learning_rate": 5e-3}
    trained = train_sound(config_of(sounds, tmp_path / "out", recipe=longer), encoder, manifest)
    first, *_, last = losses(tmp_path / "out")
    assert last < 0.8 * first
    changed = [one.name for one in encoder.graph.initializer if weights_of(trained)[one.name] != one.raw_data]
    assert len(changed) == 2 * 7  # of 27 layers the first 20 stay

    session = onnxruntime.InferenceSession(trained.graph.SerializeToString(), providers=["CPUExecutionProvider"])
    waveform = (0.2 * np.random.default_rng(1).standard_normal((3, 15_600))).astype(np.float32)
    (theirs,) = session.run(None, {"waveform": waveform})
    with torch.no_grad():
        ours = GraphModule(trained.graph)(torch.from_numpy(waveform)).numpy()
    np.testing.assert_allclose(np.asarray(theirs), ours, atol=1e-2)


def test_notes_say_what_was_learned_and_how_well_held_out_sounds_are_told(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    longer = {"steps": 30, "save_steps": 30, "batch_scenes": 2, "head_learning_rate": 5e-3}
    trained = train_sound(config_of(sounds, tmp_path / "out", recipe=longer), *bundle)
    notes = json.loads(json.dumps(dict(trained.notes)))
    assert notes["classes"] == ["ambient", "glass", "gunshot"]
    assert notes["events"] == ["gunshot", "glass"]  # those that the bundle's detector finds
    assert (notes["num_sounds"], notes["num_held_out"]) == (6, 3)
    by_share = notes["held_out"]["average_precision_by_share_of_original_weights"]
    assert list(by_share) == ["0", "0.2", "0.3", "0.5", "1"]
    assert by_share["0.3"]["any"] > 0.5


def test_a_resumed_run_gives_the_same_numbers(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_sound(config_of(sounds, tmp_path / "whole"), *bundle)

    from avdetect.training.sound import train_sound as module

    plain = module._Batches.__getitem__
    with monkeypatch.context() as patched:  # something fails in the second epoch

        def failing(self: Any, step: int) -> Any:
            if step == 5:
                raise RuntimeError("the disk is gone")
            return plain(self, step)

        patched.setattr(module._Batches, "__getitem__", failing)
        with pytest.raises(RuntimeError, match="disk"):
            train_sound(config_of(sounds, tmp_path / "cut"), *bundle)
    resumed = train_sound(config_of(sounds, tmp_path / "cut", run={"resume": True}), *bundle)
    assert weights_of(resumed) == weights_of(whole)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_how_much_of_the_original_is_kept_can_be_decided_after_training(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    encoder, manifest = bundle
    train_sound(config_of(sounds, tmp_path / "out"), encoder, manifest)
    again = config_of(sounds, tmp_path / "out", recipe={"keep_original": 1.0}, run={"resume": True})
    trained = train_sound(again, encoder, manifest)
    assert trained.graph.SerializeToString(deterministic=True) == encoder.SerializeToString(deterministic=True)


def test_a_run_is_not_resumed_with_other_settings_or_from_nothing(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        train_sound(config_of(sounds, tmp_path / "none", run={"resume": True}), *bundle)
    train_sound(config_of(sounds, tmp_path / "out", recipe={"steps": 2}), *bundle)
    other = config_of(sounds, tmp_path / "out", recipe={"steps": 3}, run={"resume": True})
    with pytest.raises(UsageError, match="recipe.steps=2"):
        train_sound(other, *bundle)


def test_a_fold_keeps_sounds_of_one_origin_together(sounds: Path, tmp_path: Path) -> None:
    from avdetect.training.scenes.material import read_sound_files

    files = read_sound_files(sounds)
    for fold in range(3):
        config = config_of(sounds, tmp_path / "out", held_out={"fold": fold, "num_folds": 3})
        divided = divide(files, config)
        assert {one.origin for one in divided.train}.isdisjoint({one.origin for one in divided.held_out})
        assert {one.label for one in divided.held_out} == {"ambient", "glass", "gunshot"}
    with pytest.raises(UsageError, match="no fold 3 of 3"):
        divide(files, config_of(sounds, tmp_path / "out", held_out={"fold": 3, "num_folds": 3}))


def test_one_class_is_nothing_to_tell_apart(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    one = sounds.with_name("one.jsonl")
    one.write_text("\n".join(line for line in sounds.read_text().splitlines() if "glass" in line))
    with pytest.raises(DataError, match="all sounds to train on are of the class glass"):
        train_sound(config_of(one, tmp_path / "out"), *bundle)


def test_a_bundle_that_does_not_hear_is_refused(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    encoder, manifest = bundle
    deaf = manifest.model_copy(update={"audio": None})
    with pytest.raises(UsageError, match="no audio encoder"):
        train_sound(config_of(sounds, tmp_path / "out"), encoder, deaf)


def test_a_file_without_sound_is_named(sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    lines = sounds.read_text().replace('"file": "', f'"file": "{sounds.parent}/')
    manifest = tmp_path / "sounds.jsonl"
    manifest.write_text(lines + '\n{"file": "broken.wav", "class": "glass"}')
    with pytest.raises(DataError, match=r"(?s)1 of 7 sounds could not be read.*broken\.wav"):
        train_sound(config_of(manifest, tmp_path / "out"), *bundle)


def test_events_that_no_sound_has_are_a_mistake(
    sounds: Path, bundle: tuple[onnx.ModelProto, Manifest], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="recipe.events names sirne"):
        train_sound(config_of(sounds, tmp_path / "out", recipe={"events": ["sirne"]}), *bundle)
