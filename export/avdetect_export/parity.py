"""Do the graphs compute what the models they were made of compute?"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from avdetect_export.encoder_graphs import LOG_MEL, LogMelSpec, YamnetWeights, mel_matrix

__all__ = ["audio_parity", "log_mel_reference", "open_graph", "quantised_logits", "visual_parity"]


def open_graph(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def visual_parity(graph: onnx.ModelProto, network: Any, frames: NDArray[np.uint8]) -> float:
    """Largest difference between graph and torch network, relative to the largest value of the embedding."""
    import torch

    found = open_graph(graph).run(None, {"frames": frames})[0]
    with torch.inference_mode():
        pictures = (torch.from_numpy(frames).permute(0, 3, 1, 2).float() - 127.0) / 128.0
        wanted = network.extract_features(pictures).mean((2, 3)).numpy()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def log_mel_reference(waveform: NDArray[np.float32], spec: LogMelSpec = LOG_MEL) -> NDArray[np.float32]:
    """The log-mel spectrogram by numpy's Fourier transform, ``(samples,)`` -> ``(frames, mels)``."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), spec.frame_samples)
    frames = frames[:: spec.hop_samples]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.frame_samples) / spec.frame_samples)
    magnitude = np.abs(np.fft.rfft(frames * window, spec.fft_samples))
    return cast(NDArray[np.float32], np.log(magnitude @ mel_matrix(spec) + spec.log_offset).astype(np.float32))


def quantised_logits(model: onnx.ModelProto, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits of the 8-bit YAMNet as it was published, ``(samples,)`` -> ``(521,)``."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    log_mel = log_mel_reference(waveform)
    quantised = np.round(log_mel / constants["audio_scale"]) + constants["audio_zero_point"]
    quantised = np.clip(quantised, 0, 255).astype(np.uint8)
    (scores,) = open_graph(model).run(None, {"audio": quantised[None, None]})
    centred = scores[0].astype(np.float32) - np.float32(constants["class_scores_zero_point"])
    return cast(NDArray[np.float32], centred * constants["class_scores_scale"])


def audio_parity(
    graph: onnx.ModelProto, weights: YamnetWeights, published: onnx.ModelProto, waveform: NDArray[np.float32]
) -> float:
    """Correlation of the 521 logits of the graph with those of the published 8-bit one."""
    embedding = open_graph(graph).run(None, {"waveform": waveform[None]})[0][0]
    logits = weights.classifier_weight @ embedding + weights.classifier_bias
    return float(np.corrcoef(logits, quantised_logits(published, waveform))[0, 1])
