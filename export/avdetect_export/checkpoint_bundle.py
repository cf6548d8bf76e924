"""Checkpoint -> bundle: all of the base bundle but its detector, which is the trained one, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avdetect.errors import CheckpointError, UsageError
from avdetect.labels.feature_files import FEATURE_HOP_S
from avdetect.manifest import SCHEMA_VERSION, ClassSpec, DetectorSpec, EventRule, Manifest
from avdetect.models.macil_sd import MacilSdNet, load_published
from avdetect.models.two_stream import TwoStreamNet, with_window
from avdetect.runtime.bundle_files import open_bundle_files
from avdetect.training.checkpoint import Checkpoint
from avdetect.training.embeddings import fingerprint
from avdetect_export.bundle_writer import ExportOptions, Weights, created_now, file_entries, write_bundle
from avdetect_export.network_graph import (
    export_macil_sd,
    export_offline,
    export_streaming,
    offline_spec,
    streaming_spec,
)
from avdetect_export.parity import offline_parity, streaming_parity

__all__ = ["bundle_of", "import_published"]

DETECTOR_GRAPH = "detector.onnx"
MAX_DIFFERENCE = {"float32": 1e-4, "float16": 2e-2}
"""The largest difference allowed between a score of the graph and the network's; half precision rounds the weights."""
GENERAL_RULE = EventRule(on=0.5, off=0.35, merge_gap_s=1.28)
"""The rule of a class whose thresholds have not been calibrated."""


def bundle_of(
    trained: Checkpoint, checkpoint: Path, base: Path, options: ExportOptions
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the files of a bundle with a trained detector.

    Args:
        trained: what ``checkpoint`` holds.
        checkpoint: for messages.
        base: bundle whose encoders made the embeddings.
        options: with a name.

    Raises:
        CheckpointError: it was trained on embeddings of other encoders, or the graph does not compute what the network
            does.
        BundleError: the base cannot be used.
        UsageError: the options do not go with the network, or a prompt of the base is called like a trained class.
    """
    network = _with_window(trained.network, options)
    graph, spec, parity = _detector(network, options.weights)
    _check_parity(checkpoint, parity, options.weights)
    common = {
        "schema_version": SCHEMA_VERSION,
        "name": options.name,
        "version": "0.1.0",
        "created": created_now(),
        "detector": spec,
        "provenance": {"builder": "avdetect export", "parity": parity, "training": dict(trained.notes)},
    }
    if trained.notes.get("encoders") is None:
        return _without_encoders(common, trained, graph)
    return _with_encoders(common, checkpoint, trained, graph, base)


def import_published(file: Path, output: Path, *, weights: Weights = "float32") -> Manifest:
    """Make a bundle in the offline form, without encoders, of what the published MACIL-SD code saved.

    Raises:
        CheckpointError: they cannot be read, or the graph does not compute what the network does.
        OutputError: the bundle cannot be written.
    """
    network = load_published(file)
    classes = network.config.num_classes
    names = ("violence",) if classes == 1 else tuple(f"class_{index}" for index in range(classes))
    graph, spec, parity = _detector(network, weights)
    _check_parity(file, parity, weights)
    common = {
        "schema_version": SCHEMA_VERSION,
        "name": output.name,
        "version": "0.1.0",
        "created": created_now(),
        "detector": spec,
        "provenance": {"builder": "avdetect import-checkpoint", "parity": parity, "weights": file.name},
    }
    manifest, files = _without_encoders(common, Checkpoint(network, names), graph)
    write_bundle(output, manifest, files)
    return manifest


def _with_window(network: TwoStreamNet | MacilSdNet, options: ExportOptions) -> TwoStreamNet | MacilSdNet:
    left, right = options.left_context_snippets, options.lookahead_snippets
    if left is None and right is None:
        return network
    if isinstance(network, MacilSdNet):
        raise UsageError("the macil-sd network always sees the whole video: it has no W and R to choose.")
    return with_window(network, left_context_snippets=left, lookahead_snippets=right)


def _detector(network: TwoStreamNet | MacilSdNet, weights: Weights) -> tuple[bytes, DetectorSpec, dict[str, float]]:
    """The graph, its entry in the manifest, and how far it is from the network."""
    if isinstance(network, MacilSdNet):
        graph = export_macil_sd(network, weights=weights)
        return graph, offline_spec(network, DETECTOR_GRAPH), offline_parity(graph, network)
    window = network.config.window
    if window.left is None or window.right is None:
        graph = export_offline(network, weights=weights)
        return graph, offline_spec(network, DETECTOR_GRAPH), offline_parity(graph, network)
    graph = export_streaming(network, weights=weights)
    return graph, streaming_spec(network, DETECTOR_GRAPH), streaming_parity(graph, network)


def _check_parity(checkpoint: Path, parity: dict[str, float], weights: Weights) -> None:
    worst = max(value for name, value in parity.items() if name.endswith("scores"))
    if not worst <= MAX_DIFFERENCE[weights]:
        raise CheckpointError(
            f"{checkpoint}: the exported graph's scores differ by up to {worst:.2g} from the network's, more than the "
            f"{MAX_DIFFERENCE[weights]:g} allowed for {weights} weights; no bundle was written."
        )


def _with_encoders(
    common: dict[str, Any], checkpoint: Path, trained: Checkpoint, graph: bytes, base: Path
) -> tuple[Manifest, dict[str, bytes]]:
    with open_bundle_files(base) as bundle:
        theirs = bundle.manifest
        if fingerprint(theirs) != trained.notes["encoders"]:
            raise CheckpointError(
                f"{checkpoint} was trained on embeddings of other encoders than those of {base}; give the bundle that "
                "it was trained with as the base, or train again."
            )
        dropped = None if theirs.detector is None else theirs.detector.graph
        kept = [entry for entry in theirs.files if entry.path != dropped]
        files = {entry.path: bundle.read(entry) for entry in kept} | {DETECTOR_GRAPH: graph}
    rules = {spec.name: spec for spec in theirs.classes}
    classes = tuple(
        ClassSpec(
            name=name,
            title=rules[name].title if name in rules else "",
            rule=GENERAL_RULE,
        )
        for name in trained.class_names
    )
    taken = [spec.name for spec in theirs.prompted_classes if spec.name in trained.class_names]
    if taken:
        raise UsageError(
            f"{base} has prompts that are called like classes of {checkpoint}: {', '.join(taken)}; give a base without."
        )
    manifest = theirs.model_copy(
        update={
            **common,
            "detector": common["detector"].model_copy(
                update={"uses_appearance": _uses_appearance(trained.network, theirs)}
            ),
            "classes": (*classes, *theirs.prompted_classes),
            "calibration": "None yet: the same thresholds for all classes; `avdetect calibrate` fits them.",
            "files": file_entries(files),
        }
    )
    return Manifest.model_validate(manifest.model_dump()), files


def _uses_appearance(network: TwoStreamNet | MacilSdNet, base: Manifest) -> bool:
    """Tell whether any weight reaches the appearance part of the visual embedding."""
    if base.visual is None or isinstance(network, MacilSdNet):
        return True
    inputs = network.visual_input
    reached = inputs.projection.weight * inputs.scale
    return bool(reached[:, : base.visual.embedding_dim].any())


def _without_encoders(common: dict[str, Any], trained: Checkpoint, graph: bytes) -> tuple[Manifest, dict[str, bytes]]:
    files = {DETECTOR_GRAPH: graph}
    classes = tuple(ClassSpec(name=name, rule=GENERAL_RULE) for name in trained.class_names)
    manifest = Manifest(
        **common,
        hop_s=FEATURE_HOP_S,
        classes=classes,
        visual=None,
        motion=None,
        audio=None,
        calibration="None: it scores features that were made elsewhere.",
        files=file_entries(files),
    )
    return manifest, files
