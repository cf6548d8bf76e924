"""A trained alignment in one file: weights, the config that shapes them, and what they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.training.weights_file import load_weights, save_weights

__all__ = ["AlignmentCheckpoint", "load_alignment", "save_alignment"]

_FORMAT = "avdetect-alignment-1"


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentCheckpoint:
    """A network and how it came about."""

    network: AlignmentNet
    """In evaluation mode."""
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
    save_weights(checkpoint.network, description, path, file_format=_FORMAT)


def load_alignment(path: Path) -> AlignmentCheckpoint:
    """Read what ``save_alignment`` wrote.

    Raises:
        CheckpointError: the file is not there, is damaged, or is no alignment of this version.
    """
    return load_weights(
        path,
        _checkpoint,
        file_format=_FORMAT,
        if_other="is no alignment of this version of avdetect; `avdetect train-text` makes one.",
    )


def _checkpoint(description: dict[str, Any], tensors: dict[str, Tensor]) -> AlignmentCheckpoint:
    network = AlignmentNet(AlignmentConfig(**description["config"]))
    network.load_state_dict(tensors)
    return AlignmentCheckpoint(network.eval(), description["text_encoder"], description["notes"])
