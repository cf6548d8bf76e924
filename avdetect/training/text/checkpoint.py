"""A trained alignment in one file: weights, the config that shapes them, and what they were made with.

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
from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.sinks.atomic import replacing

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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_FORMAT: json.dumps(description)})


def load_alignment(path: Path) -> AlignmentCheckpoint:
    """Read what ``save_alignment`` wrote.

    Raises:
        CheckpointError: the file is not there, is damaged, or is no alignment of this version.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or no safetensors file: {error}") from error
    if _FORMAT not in metadata:
        raise CheckpointError(f"{path} is no alignment of this version of avdetect; `avdetect train-text` makes one.")
    try:
        description = json.loads(metadata[_FORMAT])
        network = AlignmentNet(AlignmentConfig(**description["config"]))
        network.load_state_dict(tensors)
        return AlignmentCheckpoint(network.eval(), description["text_encoder"], description["notes"])
    except (UsageError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torch lists what is wrong line by line
        raise CheckpointError(f"{path}: weights and description do not agree: {reason}") from error
