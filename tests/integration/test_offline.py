"""Networks that look at a whole video at once, and networks on features: from weights to scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

import avdetect
from avdetect.errors import BundleError, DataError, MediaError
from avdetect.events.event import SnippetScore
from avdetect.features import encoding
from avdetect.features.encoders import EncoderSessions
from avdetect.features.encoding import Progress
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet, load_published, published_shapes
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.runtime.scorer import StreamingScorer
from avdetect.sinks.scores import read_scores
from avdetect.training.checkpoint import Checkpoint, save_checkpoint
from avdetect.training.embeddings import Encoders, embed, fingerprint
from avdetect_cli.app import app
from avdetect_export.bundle_export import export_bundle
from avdetect_export.checkpoint_bundle import import_published
from tests.synth.media import MediaFactory

Array = NDArray[np.float32]


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


def features(num_snippets: int, num_crops: int, dims: tuple[int, int], seed: int = 0) -> tuple[Array, Array]:
    """Sound ``(T, Da)`` and crops ``(crops, T, Dv)``."""
    generator = np.random.default_rng(seed)
    audio = generator.normal(size=(num_snippets, dims[0])).astype(np.float32)
    return audio, generator.normal(size=(num_crops, num_snippets, dims[1])).astype(np.float32)


def save_weights(path: Path, config: MacilSdConfig) -> Path:
    """Random ones, as the published code saves them."""
    generator = torch.Generator().manual_seed(0)
    shapes = published_shapes(config)
    torch.save({name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(tmp_path_factory.mktemp("weights") / "published.pkl", MacilSdConfig())


@pytest.fixture(scope="module")
def published(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("published") / "bundle"
    import_published(weights, path)
    return Bundle.load(path, device="cpu")


@pytest.fixture(scope="module")
def whole_video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TwoStreamNet]:
    """A checkpoint for the embedded encoders whose network sees all of a video, and the network; not trained."""
    base = read_manifest(default_bundle_path())
    torch.manual_seed(0)
    config = TwoStreamConfig(
        audio_dim=base.audio_dim,
        visual_dim=base.visual_dim,
        num_classes=2,
        hidden_dim=8,
        left_context_snippets=None,
        lookahead_snippets=None,
    )
    network = TwoStreamNet(config).eval()
    path = tmp_path_factory.mktemp("whole") / "checkpoint.safetensors"
    save_checkpoint(Checkpoint(network, ("flash", "tone"), {"encoders": fingerprint(base)}), path)
    return path, network


def test_a_video_is_scored_by_a_network_that_sees_all_of_it(
    whole_video: tuple[Path, TwoStreamNet], media: MediaFactory, tmp_path: Path
) -> None:
    checkpoint, network = whole_video
    video = media.flash_and_tone("whole.mp4")
    manifest = export_bundle(checkpoint, tmp_path / "mine")
    bundle = Bundle.load(tmp_path / "mine", device="cpu")
    curve = avdetect.score(video, bundle=bundle).curve

    embeddings = embed(video, Encoders(manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio)))
    with torch.inference_mode():
        inputs = (embeddings.audio, embeddings.visual, embeddings.present)
        outputs = network(*(torch.from_numpy(one)[None] for one in inputs))
    np.testing.assert_allclose(curve.scores, outputs.logits[0].sigmoid(), atol=1e-4)
    np.testing.assert_allclose(curve.audio_scores, outputs.audio_logits[0].sigmoid(), atol=1e-4)
    assert manifest.detector.form == "offline"
    assert "all of a file" in run("bundle", "show", tmp_path / "mine").stdout


def test_progress_goes_on_while_there_are_no_scores_yet(
    whole_video: tuple[Path, TwoStreamNet], media: MediaFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_bundle(whole_video[0], tmp_path / "mine")
    monkeypatch.setattr(encoding, "_PROGRESS_INTERVAL_S", 0.0)
    told: list[Progress | SnippetScore] = []

    avdetect.score(
        media.flash_and_tone("whole.mp4"),
        bundle=Bundle.load(tmp_path / "mine", device="cpu"),
        on_progress=told.append,
        on_score=told.append,
    )

    assert [type(one) for one in told] == [Progress] * 5 + [SnippetScore] * 5


def test_a_checkpoint_that_sees_all_of_a_video_is_evaluated_on_videos(
    whole_video: tuple[Path, TwoStreamNet], media: MediaFactory, tmp_path: Path
) -> None:
    video = media.flash_and_tone("whole.mp4")
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    event = {"start": 0.5, "end": 1.5, "class": "flash"}
    (tmp_path / "truth.jsonl").write_text(json.dumps({"video": "a.mp4", "events": [event]}))

    said = run("evaluate", whole_video[0], tmp_path / "truth.jsonl", "--json", "--device", "cpu")

    found = json.loads(said.stdout)
    assert found["frames"]["classes"]["flash"]["average_precision"] is not None
    assert found["alarms"]["median_delay_s"] is None


def test_a_published_recipe_trained_on_embeddings_of_videos_is_evaluated(media: MediaFactory, tmp_path: Path) -> None:
    base = read_manifest(default_bundle_path())
    torch.manual_seed(0)
    network = MacilSdNet(MacilSdConfig(audio_dim=base.audio_dim, visual_dim=base.visual_dim)).eval()
    save_checkpoint(Checkpoint(network, ("event",), {"encoders": fingerprint(base)}), tmp_path / "c.safetensors")
    (tmp_path / "a.mp4").write_bytes(media.flash_and_tone("whole.mp4").read_bytes())
    (tmp_path / "truth.jsonl").write_text('{"video": "a.mp4", "label": 0}')

    scores = tmp_path / "scores.npz"
    run("evaluate", tmp_path / "c.safetensors", tmp_path / "truth.jsonl", "--scores", scores, "--device", "cpu")

    (curve,) = read_scores(scores)
    np.testing.assert_array_equal(curve.audio_scores, curve.scores)  # it tells no modalities apart


def test_published_weights_score_features_and_average_their_crops(weights: Path, published: Bundle) -> None:
    audio, crops = features(21, 5, (128, 1024))
    curve = avdetect.score_features(audio, crops, bundle=published, source="film")

    network = load_published(weights)
    with torch.inference_mode():
        repeated = torch.from_numpy(audio).expand(5, -1, -1)
        wanted = network(repeated, torch.from_numpy(crops)).logits.sigmoid().mean(0)
    np.testing.assert_allclose(curve.scores, wanted, atol=1e-5)
    assert (curve.source, curve.classes) == ("film", ("violence",))
    np.testing.assert_allclose(curve.end_s[-1], 21 * 16 / 24, atol=1e-4)


def test_one_crop_needs_no_axis_of_its_own_and_any_precision_will_do(published: Bundle) -> None:
    audio, crops = features(9, 1, (128, 1024))

    several = avdetect.score_features(audio, crops, bundle=published)
    for visual in (crops[0], crops[0].astype(np.float64)):
        one = avdetect.score_features(audio.astype(visual.dtype), visual, bundle=published)
        np.testing.assert_array_equal(one.scores, several.scores)


def test_a_streaming_network_on_features_scores_them_as_it_does_in_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = TwoStreamConfig(
        audio_dim=5, visual_dim=7, num_classes=1, hidden_dim=8, left_context_snippets=4, lookahead_snippets=2
    )
    network = TwoStreamNet(config).eval()
    save_checkpoint(Checkpoint(network, ("B1",)), tmp_path / "c.safetensors")
    export_bundle(tmp_path / "c.safetensors", tmp_path / "mine")
    audio, crops = features(40, 1, (5, 7))

    curve = avdetect.score_features(audio, crops, bundle=Bundle.load(tmp_path / "mine", device="cpu"))

    with torch.inference_mode():
        present = torch.ones(1, 40, 2, dtype=torch.bool)
        wanted = network(torch.from_numpy(audio)[None], torch.from_numpy(crops), present).logits[0].sigmoid()
    np.testing.assert_allclose(curve.scores, wanted, atol=1e-4)


def test_features_of_other_sizes_are_refused(published: Bundle) -> None:
    audio, crops = features(9, 2, (128, 1024))

    with pytest.raises(DataError, match=r"film: 64 audio features per snippet, .* takes 128"):
        avdetect.score_features(audio[:, :64], crops, bundle=published, source="film")
    with pytest.raises(DataError, match=r"as many rows of audio as of visual features.*\(8, 128\) and \(2, 9, 1024\)"):
        avdetect.score_features(audio[:8], crops, bundle=published)


@pytest.mark.slow
def test_what_does_not_fit_into_memory_is_an_error_in_words(tmp_path: Path) -> None:
    config = MacilSdConfig(audio_dim=2, visual_dim=2, hidden_dim=4, feed_forward_dim=4)
    import_published(save_weights(tmp_path / "w.pkl", config), tmp_path / "small")
    audio = np.zeros((200_000, 2), np.float32)  # attention would take a terabyte

    with pytest.raises(MediaError, match="200000 snippets at once do not fit into memory"):
        avdetect.score_features(audio, audio, bundle=Bundle.load(tmp_path / "small", device="cpu"))


def test_a_bundle_without_encoders_says_that_it_scores_no_videos(published: Bundle, media: MediaFactory) -> None:
    said = run("score", media.flash_and_tone("whole.mp4"), "--bundle", published.path, "--device", "cpu", expect=1)

    assert "has no encoders: it scores features" in said.output


def test_the_offline_form_is_refused_where_scores_are_wanted_at_once(published: Bundle) -> None:
    with pytest.raises(BundleError, match="offline form, which needs the whole of a source"):
        StreamingScorer(published)
