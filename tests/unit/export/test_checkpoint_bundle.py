"""A bundle holds the encoders of its base and a detector that computes what the trained network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from avdetect.errors import CheckpointError, UsageError
from avdetect.models.macil_sd import MacilSdConfig, load_published, published_shapes
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest, verify
from avdetect.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from avdetect.training.embeddings import fingerprint
from avdetect_export import ExportOptions, checkpoint_bundle, export_bundle
from avdetect_export.checkpoint_bundle import import_published
from tests.synth.media import MediaFactory


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As training on videos leaves it, for the encoders of the embedded bundle; not trained."""
    base = read_manifest(default_bundle_path())
    torch.manual_seed(0)
    network = TwoStreamNet(
        TwoStreamConfig(
            audio_dim=base.audio_dim,
            visual_dim=base.visual_dim,
            num_classes=2,
            hidden_dim=8,
            num_heads=2,
            feed_forward_dim=8,
            left_context_snippets=4,
            lookahead_snippets=2,
            smoothing_range_snippets=1,
            fusion="either",
        )
    )
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(Checkpoint(network.eval(), ("siren", "goal"), {"encoders": fingerprint(base)}), path)
    return path


def test_a_trained_network_scores_a_video(checkpoint: Path, tmp_path: Path, media: MediaFactory) -> None:
    import avdetect

    manifest = export_bundle(checkpoint, tmp_path / "mine", not_anomaly=("goal",))
    bundle = Bundle.load(tmp_path / "mine", device="cpu")
    result = avdetect.score(media.flash_and_tone("export.mp4"), bundle=bundle)

    verify(tmp_path / "mine")
    assert manifest.name == "mine"
    assert [(spec.name, spec.title, spec.anomaly) for spec in manifest.classes] == [
        ("siren", "Siren", True),
        ("goal", "", False),
    ]
    assert manifest.provenance["parity"]["scores"] < 1e-4
    assert result.curve.scores.shape == (5, 2)
    assert (tmp_path / "mine" / "NOTICE").is_file()


def test_an_encoder_that_the_network_ignores_is_not_run_and_changes_no_score(
    checkpoint: Path, tmp_path: Path, media: MediaFactory
) -> None:
    import avdetect

    base = read_manifest(default_bundle_path())
    assert base.visual is not None
    trained = load_checkpoint(checkpoint)
    assert isinstance(trained.network, TwoStreamNet)
    trained.network.visual_input.scale[: base.visual.embedding_dim] = 0
    save_checkpoint(trained, checkpoint)
    export_bundle(checkpoint, tmp_path / "mine")
    video = media.flash_and_tone("ignored.mp4")
    lean = Bundle.load(tmp_path / "mine", device="cpu")
    full = Bundle.load(tmp_path / "mine", device="cpu", all_encoders=True)

    assert lean.visual is None
    assert full.visual is not None
    np.testing.assert_allclose(
        avdetect.score(video, bundle=lean).curve.scores, avdetect.score(video, bundle=full).curve.scores, atol=1e-6
    )


@pytest.mark.slow
def test_half_precision_weights_make_a_smaller_graph_with_nearly_the_same_scores(
    checkpoint: Path, tmp_path: Path
) -> None:
    export_bundle(checkpoint, tmp_path / "full")
    manifest = export_bundle(checkpoint, tmp_path / "half", options=ExportOptions(weights="float16"))
    sizes = [(tmp_path / name / "detector.onnx").stat().st_size for name in ("half", "full")]

    assert sizes[0] < 0.8 * sizes[1]
    assert 0 < manifest.provenance["parity"]["scores"] < 2e-2


def test_the_window_may_be_chosen_when_exporting(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(left_context_snippets=9, lookahead_snippets=1)
    spec = export_bundle(checkpoint, tmp_path / "mine", options=options).detector

    assert (spec.form, spec.left_context_snippets, spec.lookahead_snippets) == ("streaming", 9, 1)


def test_encoders_that_the_network_was_not_trained_with_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    network = TwoStreamNet(TwoStreamConfig(audio_dim=4, visual_dim=4, num_classes=1))
    save_checkpoint(Checkpoint(network.eval(), ("a",), {"encoders": "others"}), checkpoint)

    with pytest.raises(CheckpointError, match="was trained on embeddings of other encoders"):
        export_bundle(checkpoint, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_graph_that_says_something_else_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checkpoint_bundle.MAX_DIFFERENCE, "float16", 1e-9)

    with pytest.raises(CheckpointError, match="differ by up to .* no bundle was written"):
        export_bundle(checkpoint, tmp_path / "mine", options=ExportOptions(weights="float16"))
    assert not (tmp_path / "mine").exists()


def test_a_class_that_is_not_there_cannot_be_set_apart(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no class fight; it has siren, goal"):
        export_bundle(checkpoint, tmp_path / "mine", not_anomaly=("fight",))


def test_published_weights_become_a_bundle_that_scores_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "published.pkl"
    torch.save({name: 0.1 * torch.randn(shape) for name, shape in published_shapes(MacilSdConfig()).items()}, weights)
    manifest = import_published(weights, tmp_path / "published")
    audio = np.random.default_rng(0).normal(size=(1, 21, 128)).astype(np.float32)
    visual = np.random.default_rng(1).normal(size=(1, 21, 1024)).astype(np.float32)
    graph = onnxruntime.InferenceSession(tmp_path / "published" / "detector.onnx", providers=["CPUExecutionProvider"])
    (found,) = graph.run(["scores"], {"audio": audio, "visual": visual})

    with torch.inference_mode():
        wanted = load_published(weights)(torch.from_numpy(audio), torch.from_numpy(visual)).logits.sigmoid()
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    assert manifest.detector.form == "offline"
    assert manifest.class_names == ("violence",)
    verify(tmp_path / "published")
