from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from avdetect.errors import CheckpointError, OutputError
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

TWO_STREAM = TwoStreamNet(
    TwoStreamConfig(
        audio_dim=3, visual_dim=4, num_classes=2, hidden_dim=8, left_context_snippets=5, position_range_snippets=2
    )
)
MACIL_SD = MacilSdNet(MacilSdConfig(audio_dim=3, visual_dim=4, num_classes=2, hidden_dim=8))


@pytest.mark.parametrize("network", [TWO_STREAM, MACIL_SD])
def test_what_was_saved_is_loaded(network: TwoStreamNet | MacilSdNet, tmp_path: Path) -> None:
    saved = Checkpoint(network, ("fight", "siren"), {"seed": 3, "encoders": {"audio": "yamnet"}})
    save_checkpoint(saved, tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    assert type(loaded.network) is type(network)
    assert loaded.network.config == network.config
    assert (loaded.class_names, loaded.notes) == (saved.class_names, saved.notes)
    assert not loaded.network.training
    for name, tensor in network.state_dict().items():
        assert loaded.network.state_dict()[name].equal(tensor)


def test_names_for_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="the network has 2 classes, class_names names 1"):
        Checkpoint(TWO_STREAM, ("fight",))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*net\.safetensors"):
        save_checkpoint(Checkpoint(TWO_STREAM, ("a", "b")), tmp_path / "no" / "net.safetensors")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*net\.safetensors: No such file"):
        load_checkpoint(tmp_path / "net.safetensors")


def test_a_file_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(Checkpoint(TWO_STREAM, ("a", "b")), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged, or no safetensors file"):
        load_checkpoint(path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    torch.save(TWO_STREAM.state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"net\.pt is damaged, or no safetensors file"):
        load_checkpoint(tmp_path / "net.pt")


def test_weights_of_other_origin(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint of this version of avdetect.*import-checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "three-stream"}, "there is no network 'three-stream'"),
        ({"config": {"audio_dim": 3, "colour": 1}}, "colour"),
        ({"config": {"audio_dim": 3, "visual_dim": 4, "num_classes": 2, "hidden_dim": 16}}, "size mismatch"),
        ({"class_names": ["fight"]}, "class_names names 1"),
    ],
)
def test_a_description_that_does_not_fit_the_weights(change: dict[str, object], message: str, tmp_path: Path) -> None:
    network: nn.Module = TWO_STREAM
    description = {
        "network": "two-stream",
        "config": {"audio_dim": 3, "visual_dim": 4, "num_classes": 2, "hidden_dim": 8, "position_range_snippets": 2},
        "class_names": ["a", "b"],
        "notes": {},
    }
    path = tmp_path / "net.safetensors"
    save_file(network.state_dict(), path, metadata={"avdetect-checkpoint-1": json.dumps(description | change)})
    with pytest.raises(CheckpointError, match=f"weights and description do not agree: .*{message}"):
        load_checkpoint(path)
