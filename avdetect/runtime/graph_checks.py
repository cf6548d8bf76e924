"""A graph has the inputs and outputs that its manifest promises, of the widths it promises, or ``BundleError``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import BundleError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["check_inputs", "check_outputs"]


def check_inputs(
    where: Path, part: str, session: onnxruntime.InferenceSession, widths: Mapping[str, int | None]
) -> None:
    """The graph takes what it is to be given.

    Args:
        where: the bundle.
        part: what the graph is called in messages.
        session: of the graph.
        widths: how many numbers, of the last axis, each input has; ``None`` where that is not asked.

    Raises:
        BundleError: an input is not there, or the graph says that it has another width.
    """
    _check(where, part, "input", session.get_inputs(), widths, "takes")


def check_outputs(
    where: Path, part: str, session: onnxruntime.InferenceSession, widths: Mapping[str, int | None]
) -> None:
    """The graph gives what is wanted of it; arguments and errors as of ``check_inputs``."""
    _check(where, part, "output", session.get_outputs(), widths, "gives")


def _check(
    where: Path,
    part: str,
    kind: str,
    nodes: Iterable[onnxruntime.NodeArg],
    widths: Mapping[str, int | None],
    does: str,
) -> None:
    found = {node.name: node.shape[-1] if node.shape else None for node in nodes}
    missing = [name for name in widths if name not in found]
    if missing:
        raise BundleError(
            f"{where}: the {part} graph has no {kind} called {', '.join(missing)} (it has {', '.join(sorted(found))})."
        )
    for name, wanted in widths.items():
        if wanted is not None and isinstance(found[name], int) and found[name] != wanted:
            raise BundleError(
                f"{where}: the {part} graph {does} {found[name]} numbers of {name}, its manifest says {wanted}."
            )
