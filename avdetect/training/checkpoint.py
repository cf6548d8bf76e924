"""A trained network as one file: its weights, the config that shapes them, and how it came about.

The file is a safetensors file with JSON in its metadata. Loading it runs none of its content. ``Checkpoint`` holds a
detector, ``AlignmentCheckpoint`` an alignment of sound and text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import safetensors
from safetensors.torch import save
from torch import Tensor, nn

from avdetect.errors import CheckpointError
from avdetect.files import open_file, replacing
from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet

__all__ = [
    "AlignmentCheckpoint",
    "Checkpoint",
    "load_alignment",
    "load_checkpoint",
    "load_weights",
    "save_alignment",
    "save_checkpoint",
    "save_weights",
]

_FORMAT = "avdetect-checkpoint-1"
_ALIGNMENT_FORMAT = "avdetect-alignment-1"

Loaded = TypeVar("Loaded")

_MAX_FILE_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network and what it was trained for."""

    network: TwoStreamNet | MacilSdNet
    """The network, in evaluation mode."""
    class_names: tuple[str, ...]
    """The classes, in the order of the logits."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Anything that JSON can hold: the recipe, the data, the encoders of the embeddings, metrics."""

    def __post_init__(self) -> None:
        num_classes = self.network.config.num_classes
        if len(self.class_names) != num_classes:
            raise ValueError(f"the network has {num_classes} classes, class_names names {len(self.class_names)}.")


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    description = {
        "network": "two-stream" if isinstance(checkpoint.network, TwoStreamNet) else "macil-sd",
        "config": asdict(checkpoint.network.config),
        "class_names": checkpoint.class_names,
        "notes": dict(checkpoint.notes),
    }
    save_weights(checkpoint.network, description, path, file_format=_FORMAT)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read what ``save_checkpoint`` wrote.

    Raises:
        CheckpointError: the file is not there, is damaged, or is no checkpoint of this version.
    """
    return load_weights(
        Path(path),
        _checkpoint,
        file_format=_FORMAT,
        if_other=(
            f"is no checkpoint of this version of avdetect: its metadata has no {_FORMAT}; "
            "weights of other origin are read by `avdetect import-checkpoint`."
        ),
    )


def _checkpoint(description: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    network = _build(description["network"], description["config"])
    network.load_state_dict(tensors)
    return Checkpoint(network.eval(), tuple(description["class_names"]), description["notes"])


def _build(kind: str, config: Mapping[str, Any]) -> TwoStreamNet | MacilSdNet:
    if kind == "two-stream":
        # JSON has no tuples.
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
        }
        return TwoStreamNet(TwoStreamConfig(**values))
    if kind == "macil-sd":
        return MacilSdNet(MacilSdConfig(**config))
    raise ValueError(f"there is no network {kind!r}")


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentCheckpoint:
    """A network and how it came about."""

    network: AlignmentNet
    """The network, in evaluation mode."""
    text_encoder: str | None
    """Folder or name of what embeds phrases; None for all-MiniLM-L6-v2."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Anything that JSON can hold: the recipe, the data, the fingerprint of the encoders."""


def save_alignment(checkpoint: AlignmentCheckpoint, path: Path) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    description = {
        "config": asdict(checkpoint.network.config),
        "text_encoder": checkpoint.text_encoder,
        "notes": dict(checkpoint.notes),
    }
    save_weights(checkpoint.network, description, path, file_format=_ALIGNMENT_FORMAT)


def load_alignment(path: Path) -> AlignmentCheckpoint:
    """Read what ``save_alignment`` wrote.

    Raises:
        CheckpointError: the file is not there, is damaged, or is no alignment of this version.
    """
    return load_weights(
        path,
        _alignment,
        file_format=_ALIGNMENT_FORMAT,
        if_other="is no alignment of this version of avdetect; `avdetect train-text` makes one.",
    )


def _alignment(description: dict[str, Any], tensors: dict[str, Tensor]) -> AlignmentCheckpoint:
    network = AlignmentNet(AlignmentConfig(**description["config"]))
    network.load_state_dict(tensors)
    return AlignmentCheckpoint(network.eval(), description["text_encoder"], description["notes"])


def save_weights(network: nn.Module, description: Mapping[str, Any], path: Path, *, file_format: str) -> None:
    """Write the weights of ``network`` to ``path``, whole or not at all.

    Raises:
        OutputError: they cannot be written there.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={file_format: json.dumps(description)}))


def load_weights(
    path: Path,
    build: Callable[[dict[str, Any], dict[str, Tensor]], Loaded],
    *,
    file_format: str,
    if_other: str,
) -> Loaded:
    """Read what ``save_weights`` wrote.

    Args:
        path: the file.
        build: makes of the description and the weights what is wanted.
        file_format: with which they were saved.
        if_other: what to say of ``path`` where the file has another format.

    Raises:
        CheckpointError: the file is not there, is damaged, is of another format, or contradicts itself.
    """
    try:
        open_file(path, limit=_MAX_FILE_BYTES).close()  # it would wait for a pipe's writer
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or no safetensors file: {error}") from error
    if file_format not in metadata:
        raise CheckpointError(f"{path} {if_other}")
    try:
        return build(json.loads(metadata[file_format]), tensors)
    except Exception as error:  # whatever a description leads to that does not fit its weights
        reason = " ".join(str(error).split())  # torch lists what is wrong line by line
        raise CheckpointError(f"{path}: weights and description do not agree: {reason}") from error
