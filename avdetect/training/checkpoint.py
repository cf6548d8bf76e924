"""A trained network in one file: weights, the config that shapes them, and what else deployment must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from avdetect.models.macil_sd import MacilSdConfig, MacilSdNet
from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect.training.weights_file import load_weights, save_weights

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
