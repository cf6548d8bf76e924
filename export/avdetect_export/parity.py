"""Do the graphs compute what the models they were made of compute?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from avdetect.models.macil_sd import MacilSdNet
from avdetect.models.two_stream import StreamInput, TwoStreamNet
from avdetect.runtime.session import choose_provider, open_session
from avdetect_export.encoder_graphs import LOG_MEL, LogMelSpec, YamnetWeights, mel_matrix
from avdetect_export.network_graph import INPUTS, OUTPUTS, OfflineDetector, PublishedDetector, for_export

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "audio_parity",
    "log_mel_reference",
    "offline_parity",
    "open_graph",
    "quantised_logits",
    "run_in_chunks",
    "streaming_parity",
    "visual_parity",
]


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


# (bags, snippets) and (bags, snippets in a chunk); no size is the one that was traced.
_OFFLINE_SIZES = ((1, 1), (1, 37), (4, 200))
_CHUNK_SIZES = ((1, 1), (4, 7), (1, 32))
_SNIPPETS_BEYOND_WINDOW = 50


def streaming_parity(graph: bytes, network: TwoStreamNet, *, seed: int = 0) -> dict[str, float]:
    """Cut random streams with gaps into chunks, and compare with torch's offline pass over each of them whole.

    Args:
        graph: what ``export_streaming`` made.
        network: what it was made from.
        seed: of the inputs.

    Returns:
        The largest absolute difference, by output.
    """
    network = for_export(network)
    session = _open(graph)
    num_snippets = sum(network.config.window.bounds()) + _SNIPPETS_BEYOND_WINDOW
    differences = []
    for index, (num_bags, chunk_snippets) in enumerate(_CHUNK_SIZES):
        inputs = _random_inputs(network, num_bags, num_snippets, seed + index)
        found = run_in_chunks(session, network, inputs, chunk_snippets=[chunk_snippets])
        differences.append(_differences(found, _in_torch(OfflineDetector(network), inputs)))
    return _largest(differences)


def offline_parity(graph: bytes, network: TwoStreamNet | MacilSdNet, *, seed: int = 0) -> dict[str, float]:
    """Compare on random bags: ``graph`` is what ``export_offline`` or ``export_macil_sd`` made of ``network``.

    Returns:
        The largest absolute difference, by output.
    """
    network = for_export(network)
    detector = OfflineDetector(network) if isinstance(network, TwoStreamNet) else PublishedDetector(network)
    session = _open(graph)
    differences = []
    for index, (num_bags, num_snippets) in enumerate(_OFFLINE_SIZES):
        inputs = _random_inputs(network, num_bags, num_snippets, seed + index)[: len(session.get_inputs())]
        found = session.run(None, {name: one.numpy() for name, one in zip(INPUTS, inputs, strict=False)})
        differences.append(_differences(found, _in_torch(detector, inputs)))
    return _largest(differences)


def run_in_chunks(
    session: onnxruntime.InferenceSession,
    network: TwoStreamNet,
    inputs: Sequence[Tensor],
    *,
    chunk_snippets: Sequence[int],
) -> list[NDArray[np.float32]]:
    """Run a streaming graph over whole streams as the runtime would.

    Args:
        session: of what ``export_streaming`` made.
        network: what it was made from.
        inputs: ``audio``, ``visual`` and ``present`` of the whole streams.
        chunk_snippets: the sizes of the chunks, in turn, from the start again where the stream is longer.

    Returns:
        The outputs but the state, a row for each snippet of the stream.
    """
    _, lookahead = network.config.window.bounds()
    # As many absent snippets push the last ones out.
    padded = [functional.pad(one, (0, 0, 0, lookahead)) for one in inputs]
    num_bags, num_snippets, _ = padded[0].shape
    state = {name: zeros.numpy() for name, zeros in network.initial_state(num_bags).items()}
    names = [*OUTPUTS, *(f"{name}_next" for name in state)]
    rows, start, turn = [], 0, 0
    while start < num_snippets:
        stop = start + chunk_snippets[turn % len(chunk_snippets)]
        chunk = {name: one[:, start:stop].numpy() for name, one in zip(INPUTS, padded, strict=True)}
        results = session.run(names, chunk | state)
        rows.append(results[: len(OUTPUTS)])
        state = dict(zip(state, results[len(OUTPUTS) :], strict=True))
        start, turn = stop, turn + 1
    return [np.concatenate(parts, axis=1)[:, lookahead:] for parts in zip(*rows, strict=True)]


def _open(graph: bytes) -> onnxruntime.InferenceSession:
    return open_session(graph, name="the exported detector", provider=choose_provider("cpu"), num_threads=1)


def _random_inputs(
    network: TwoStreamNet | MacilSdNet, num_bags: int, num_snippets: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings spread as the network's statistics say, and presence with gaps of every length."""
    generator = torch.Generator().manual_seed(seed)
    size = (num_bags, num_snippets)
    audio = torch.randn(*size, network.config.audio_dim, generator=generator)
    visual = torch.randn(*size, network.config.visual_dim, generator=generator)
    if isinstance(network, TwoStreamNet):
        audio, visual = _spread(audio, network.audio_input), _spread(visual, network.visual_input)
    # A walk stays on one side of zero for a while.
    present = torch.randn(*size, 2, generator=generator).cumsum(1) > 0
    return audio, visual, present


def _spread(standard: Tensor, stream: StreamInput) -> Tensor:
    """Standard normal numbers -> numbers as in the training data; those that the network does not look at stay."""
    return standard * torch.where(stream.scale > 0, 1 / stream.scale, 1.0) + stream.mean


def _in_torch(detector: OfflineDetector | PublishedDetector, inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        return [one.numpy() for one in detector(*inputs)]


def _differences(found: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]) -> list[float]:
    return [float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)]


def _largest(differences: Sequence[Sequence[float]]) -> dict[str, float]:
    return dict(zip(OUTPUTS, np.max(differences, axis=0).tolist(), strict=False))
