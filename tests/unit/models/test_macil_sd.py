from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avdetect.errors import CheckpointError, UsageError
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet, MacilSdPartner, load_published, published_shapes
from benchmarks import plain_macil_sd as plain


def published_state(config: MacilSdConfig | None = None) -> dict[str, Tensor]:
    """What the published code saves, with random numbers."""
    torch.manual_seed(0)
    return {name: 0.1 * torch.randn(shape) for name, shape in published_shapes(config or MacilSdConfig()).items()}


def saved(state: object, folder: Path) -> Path:
    path = folder / "macil_sd.pkl"
    torch.save(state, path)
    return path


def test_the_published_state_dict_holds_347_009_numbers() -> None:
    shapes = published_shapes(MacilSdConfig())
    assert sum(math.prod(shape) for shape in shapes.values()) == 347_009


def test_the_published_names_are_the_networks_own() -> None:
    unused = ("multiheadattn.", "feedforward.", "cma.layer.self_attn.layer_norm.")
    used = {name for name in published_shapes(MacilSdConfig()) if not name.startswith(unused)}
    assert used == MacilSdNet(MacilSdConfig()).state_dict().keys()
    assert {"fc_v.weight", "fc_a.bias", "cma.layer.self_attn.linears.3.weight", "att_mmil.fc.bias"} < used
    assert {"cma.layer.feed_forward.w_2.weight", "cma.layer.sublayer.1.norm.bias"} < used


def test_a_published_checkpoint_says_what_the_plain_rewrite_says(tmp_path: Path) -> None:
    state = published_state()
    net = load_published(saved(state, tmp_path))
    audio, visual = torch.randn(3, 21, 128), torch.randn(3, 21, 1024)
    with torch.no_grad():
        outputs = net(audio, visual)
    expected = plain.audio_visual(state, audio, visual, training=False)
    for found, one in zip(outputs, expected, strict=True):
        torch.testing.assert_close(found, one, atol=1e-5, rtol=1e-5)


def test_the_partner_says_what_the_plain_rewrite_says() -> None:
    partner = MacilSdPartner(MacilSdConfig()).eval()
    visual = torch.randn(2, 9, 1024)
    with torch.no_grad():
        expected = plain.visual_only(partner.state_dict(), visual, training=False)
        torch.testing.assert_close(partner(visual), expected, atol=1e-5, rtol=1e-5)


def test_the_partner_has_the_networks_parameters_but_those_of_the_audio() -> None:
    mine = {name: one.shape for name, one in MacilSdNet(MacilSdConfig()).named_parameters()}
    theirs = {name: one.shape for name, one in MacilSdPartner(MacilSdConfig()).named_parameters()}
    assert theirs == {name: shape for name, shape in mine.items() if not name.startswith("fc_a.")}


def test_padding_is_attended_to_as_published() -> None:
    net = MacilSdNet(MacilSdConfig()).eval()
    audio, visual = torch.randn(1, 9, 128), torch.randn(1, 9, 1024)
    padded = [torch.nn.functional.pad(one, (0, 0, 0, 5)) for one in (audio, visual)]
    with torch.no_grad():
        assert not torch.allclose(net(*padded).logits[:, :9], net(audio, visual).logits)


def test_attention_starts_from_equal_projections_as_published() -> None:
    query, key, value, output = (one.weight for one in MacilSdNet(MacilSdConfig()).cma.layer.self_attn.linears)
    assert query.equal(key)
    assert key.equal(value)
    assert value.equal(output)


def test_sizes_are_read_from_the_weights(tmp_path: Path) -> None:
    config = MacilSdConfig(audio_dim=9, visual_dim=11, num_classes=3, hidden_dim=16, feed_forward_dim=24)
    assert load_published(saved(published_state(config), tmp_path)).config == config


def test_weights_that_take_no_part_may_be_missing(tmp_path: Path) -> None:
    state = {name: one for name, one in published_state().items() if not name.startswith("multiheadattn.")}
    load_published(saved(state, tmp_path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*nothing\.pkl: No such file"):
        load_published(tmp_path / "nothing.pkl")


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "notes.pkl"
    path.write_text("hello")
    with pytest.raises(CheckpointError, match=r"notes\.pkl is no state dict of tensors"):
        load_published(path)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a MACIL-SD state dict: it has no matrix fc_v\.weight"):
        load_published(saved({"conv1.weight": torch.zeros(3, 3)}, tmp_path))


def test_a_whole_model_is_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no state dict of tensors"):
        load_published(saved(MacilSdNet(MacilSdConfig()), tmp_path))


def test_a_dict_of_other_things(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="it holds a dict of other things"):
        load_published(saved({"epoch": 3, "state": published_state()}, tmp_path))


def test_weights_missing_and_unknown_are_named(tmp_path: Path) -> None:
    state = published_state()
    state["extra.weight"] = state.pop("fc_a.bias")
    with pytest.raises(CheckpointError, match=r"lacks fc_a\.bias and has unknown extra\.weight"):
        load_published(saved(state, tmp_path))


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    state = published_state() | {"cma.layer.sublayer.0.norm.bias": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"sublayer\.0\.norm\.bias has shape \(7,\), expected \(128,\)"):
        load_published(saved(state, tmp_path))


def test_a_number_of_heads_that_does_not_divide(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"hidden_dim \(128\) must be a multiple of num_heads \(5\)"):
        load_published(saved(published_state(), tmp_path), num_heads=5)


def test_a_config_that_makes_no_network_is_refused() -> None:
    with pytest.raises(UsageError, match=r"dropout must be in \[0, 1\), got 2"):
        MacilSdConfig(dropout=2)
