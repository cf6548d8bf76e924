from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from avdetect.errors import BundleError, CheckpointError
from avdetect.features.encoders import EncoderSessions
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.training.motion.config import parse_motion_config
from avdetect.training.motion.network import MotionNet, MotionNetConfig
from avdetect.training.motion.train_motion import train_motion
from avdetect.training.motion.views import resized
from avdetect_export.bundle_writer import read_bundle
from avdetect_export.motion_encoder import (
    appearance_graph,
    encoder_feature_names,
    motion_bundle,
    motion_encoder_graph,
    motion_encoder_parity,
)
from avdetect_export.motion_graph import motion_feature_names, motion_graph
from avdetect_export.parity import open_graph
from tests.synth.moving_clips import write_clips

LUMA_SIZE = (120, 160)
NUM_STATISTICS = len(motion_feature_names())


@pytest.fixture(scope="module")
def appearance() -> onnx.ModelProto:
    return onnx.load_from_string(appearance_graph(default_bundle_path()))


def network_of(appearance: onnx.ModelProto, size: tuple[int, int] = (96, 128)) -> MotionNet:
    torch.manual_seed(0)
    network = MotionNet(appearance, MotionNetConfig(num_classes=2, size=size, bottleneck_dim=5)).eval()
    with torch.no_grad():
        network.classify.weight.normal_(std=0.1)
        for weight in network.trunk.parameters():
            weight.mul_(1 + 0.05 * torch.randn_like(weight))
    return network


def moving(num: int, seed: int = 0) -> NDArray[np.uint8]:
    """Snippets of smooth scenes that drift, ``(num, 9, 120, 160)``."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (num, 1, 17, 22), dtype=np.uint8).repeat(8, 2).repeat(8, 3)
    return np.concatenate([coarse[:, :, at : at + 120, at : at + 160] for at in range(9)], axis=1)


def times(num: int, cell_s: float = 0.08) -> NDArray[np.float32]:
    return np.tile(np.arange(9, dtype=np.float32) * np.float32(cell_s), (num, 1))


def embed(graph: onnx.ModelProto, luma: NDArray[np.uint8], time_s: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = open_graph(graph).run(None, {"luma": luma, "time_s": time_s})[0]
    return found


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize("size", [(96, 128), (120, 160)])
def test_the_graph_says_what_the_network_says(appearance: onnx.ModelProto, size: tuple[int, int], num: int) -> None:
    network = network_of(appearance, size)
    found = embed(motion_encoder_graph(network, appearance, LUMA_SIZE), moving(num), times(num))

    with torch.inference_mode():
        pictures = resized(torch.from_numpy(moving(num)[:, [2, 4, 6]]).float(), size)
        outputs = network(pictures, torch.ones(num, 2))
        wanted = torch.cat([outputs.logits, outputs.bottleneck], dim=1).numpy()
    assert found.shape == (num, NUM_STATISTICS + 2 + 5)
    assert np.abs(found[:, NUM_STATISTICS:] - wanted).max() < 0.01 * max(1.0, np.abs(wanted).max())
    assert np.abs(wanted[:, 2:]).max() <= 1.0


def test_its_statistics_are_those_of_the_smaller_pictures(appearance: onnx.ModelProto) -> None:
    luma, time_s = moving(3), times(3)
    time_s[1, 4:] -= 0.08  # a picture that stands in for a missing one
    luma[2, 5:] = moving(1, seed=9)[0, 5:]  # a cut
    small = np.rint(luma.reshape(3, 9, 60, 2, 80, 2).mean((3, 5))).astype(np.uint8)

    found = embed(motion_encoder_graph(network_of(appearance), appearance, LUMA_SIZE), luma, time_s)

    assert np.array_equal(found[:, :NUM_STATISTICS], embed(motion_graph(), small, time_s))


def seen(graph: onnx.ModelProto, luma: NDArray[np.uint8], time_s: NDArray[np.float32]) -> NDArray[np.float32]:
    return embed(graph, luma, time_s)[:, NUM_STATISTICS:]


def test_differences_are_rates_over_time(appearance: onnx.ModelProto) -> None:
    network = network_of(appearance)
    graph = motion_encoder_graph(network, appearance, LUMA_SIZE)
    slower = seen(graph, moving(1), times(1, cell_s=0.1))

    with torch.inference_mode():
        pictures = resized(torch.from_numpy(moving(1)[:, [2, 4, 6]]).float(), network.config.size)
        wanted = network(pictures, torch.full((1, 2), 0.8)).logits.numpy()
    assert np.abs(slower[:, :2] - wanted).max() < 0.01


def test_what_stands_in_and_what_lies_behind_a_cut_is_not_compared(appearance: onnx.ModelProto) -> None:
    graph = motion_encoder_graph(network_of(appearance), appearance, LUMA_SIZE)
    still = np.repeat(moving(1)[:, 4:5], 9, axis=1)
    wanted = seen(graph, still, times(1))

    missing, when = still.copy(), times(1)
    missing[0, 5:] = missing[0, 5:][:, ::-1]
    when[0, 5:] = when[0, 4]
    assert np.allclose(seen(graph, missing, when), wanted, atol=1e-4)

    other = moving(1, seed=7)[0, 0]
    for cut in (3, 5):
        joined = still.copy()
        joined[0, cut:] = other if cut > 4 else still[0, 0]
        if cut <= 4:
            joined[0, :cut] = other
        assert np.allclose(seen(graph, joined, times(1)), wanted, atol=1e-4)


def test_a_change_of_exposure_is_no_motion(appearance: onnx.ModelProto) -> None:
    network = network_of(appearance)
    pictures = torch.from_numpy(moving(1)[:, [4, 4, 4]]).float()
    brighter = pictures.clone()
    brighter[:, 0] += 20
    with torch.inference_mode():
        ours, theirs = (network.prepare(one, torch.ones(1, 2)) for one in (pictures, brighter))
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_the_graph_is_small_and_the_same_each_time(appearance: onnx.ModelProto) -> None:
    first, second = (
        motion_encoder_graph(network_of(appearance), appearance, LUMA_SIZE).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second
    assert len(first) < 6_000_000


def test_a_graph_that_is_not_the_network_is_noticed(appearance: onnx.ModelProto) -> None:
    network = network_of(appearance)
    graph = motion_encoder_graph(network, appearance, LUMA_SIZE)
    assert motion_encoder_parity(graph, network, LUMA_SIZE) < 0.03
    with torch.no_grad():
        network.classify.bias.add_(1.0)
    with pytest.raises(CheckpointError, match="does not compute what the network does"):
        motion_encoder_parity(graph, network, LUMA_SIZE)


def test_luma_must_be_a_whole_multiple(appearance: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="no whole multiple"):
        motion_encoder_graph(network_of(appearance), appearance, (100, 160))


def test_names_are_as_many_as_numbers(appearance: onnx.ModelProto) -> None:
    names = encoder_feature_names(("fight", "fall"), network_of(appearance))
    assert len(set(names)) == len(names) == NUM_STATISTICS + 2 + 5
    assert names[NUM_STATISTICS : NUM_STATISTICS + 2] == ("logit_fight", "logit_fall")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle, and the checkpoint that it was made of."""
    folder = tmp_path_factory.mktemp("trained")
    recipe: dict[str, Any] = {"epochs": 1, "batch_views": 3, "picture_height": 32, "picture_width": 32}
    config = parse_motion_config(
        {
            "clips": write_clips(folder),
            "output": folder / "bundle",
            "recipe": recipe,
            "run": {"accelerator": "cpu", "progress": False},
            "hold_out_places": ["place0"],
        }
    )
    checkpoint = train_motion(config, appearance_graph(default_bundle_path()))
    motion_bundle(default_bundle_path(), checkpoint, folder / "bundle")
    return folder / "bundle", checkpoint


def test_the_bundle_has_the_new_encoder_and_the_others_of_its_base(trained: tuple[Path, Path]) -> None:
    manifest, files = read_bundle(trained[0])
    base, base_files = read_bundle(default_bundle_path())

    assert manifest.motion is not None
    assert base.audio is not None
    assert (manifest.motion.height, manifest.motion.width) == LUMA_SIZE
    assert manifest.detector is None
    assert manifest.motion.embedding_dim == NUM_STATISTICS + 1 + 16
    assert files[manifest.audio.graph if manifest.audio else ""] == base_files[base.audio.graph]
    assert manifest.provenance["encoders"]["motion"]["held_out_places"] == ["place0"]
    assert manifest.provenance["encoders"]["motion"]["features"][NUM_STATISTICS] == "logit_fight"
    assert "base" in manifest.provenance


def test_the_bundle_can_be_opened_for_its_encoders(trained: tuple[Path, Path]) -> None:
    loaded = Bundle.load(trained[0], device="cpu", all_encoders=True)
    sessions = EncoderSessions(loaded.visual, loaded.motion, loaded.audio)

    assert sessions.motion is not None
    found = sessions.motion.run(["embedding"], {"luma": moving(2), "time_s": times(2)})[0]
    assert np.isfinite(found).all()


def test_a_base_without_appearance_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    from avdetect_export.bundle_writer import file_entries, write_bundle

    manifest, files = read_bundle(default_bundle_path())
    assert manifest.visual is not None
    left = {name: content for name, content in files.items() if name != manifest.visual.graph}
    bare = manifest.model_copy(update={"visual": None, "files": file_entries(left)})
    write_bundle(tmp_path / "bare", bare, left)

    with pytest.raises(BundleError, match="has no appearance encoder"):
        appearance_graph(tmp_path / "bare")
