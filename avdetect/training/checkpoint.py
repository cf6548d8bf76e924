"""A trained network in one file: weights, the config that shapes them, and what else deployment must know.

The file is a safetensors file with JSON in its metadata. Loading it runs none of its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file

from avdetect.errors import CheckpointError, UsageError
from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.sinks.atomic import replacing

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = "avdetect-checkpoint-1"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network and what it was trained for."""

    network: TwoStreamNet | MacilSdNet
    """In evaluation mode."""
    class_names: tuple[str, ...]
    """In the order of the logits."""
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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_FORMAT: json.dumps(description)})


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read what ``save_checkpoint`` wrote.

    Raises:
        CheckpointError: the file is not there, is damaged, or is no checkpoint of this version.
    """
    path = Path(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or no safetensors file: {error}") from error
    if _FORMAT not in metadata:
        raise CheckpointError(
            f"{path} is no checkpoint of this version of avdetect: its metadata has no {_FORMAT}; "
            "weights of other origin are read by `avdetect import-checkpoint`."
        )
    try:
        description = json.loads(metadata[_FORMAT])
        network = _build(description["network"], description["config"])
        network.load_state_dict(tensors)
        return Checkpoint(network.eval(), tuple(description["class_names"]), description["notes"])
    except (UsageError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torch lists what is wrong line by line
        raise CheckpointError(f"{path}: weights and description do not agree: {reason}") from error


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
