"""A trained network as one file: weights, and a description of them.

The file is a safetensors file with JSON in its metadata. Loading it runs none of its content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
from safetensors.torch import save_file
from torch import Tensor, nn

from avdetect.errors import CheckpointError, UsageError
from avdetect.sinks.atomic import replacing

__all__ = ["load_weights", "save_weights"]

Loaded = TypeVar("Loaded")


def save_weights(network: nn.Module, description: Mapping[str, Any], path: Path, *, file_format: str) -> None:
    """Write the weights of ``network`` to ``path``, whole or not at all.

    Raises:
        OutputError: they cannot be written there.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={file_format: json.dumps(description)})


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
    except (UsageError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torch lists what is wrong line by line
        raise CheckpointError(f"{path}: weights and description do not agree: {reason}") from error
