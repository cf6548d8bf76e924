"""A bundle, loaded: files, hashes, graphs and manifest agree, or ``BundleError``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import BundleError, ProviderError
from avdetect.manifest import DetectorSpec, Manifest
from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files, read_manifest, verify
from avdetect.runtime.session import Provider, choose_provider, open_session

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Bundle", "default_bundle_path", "read_manifest", "verify"]

_MAX_THREADS = 4
"""For one run of a graph: the encoders are too small to keep more busy."""


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A manifest and a session for each of its graphs. Safe to share between threads: runs keep no state here."""

    path: Path
    manifest: Manifest
    provider: Provider
    """Where the graphs run."""
    notes: tuple[str, ...]
    """What the user should know of how it was loaded."""
    detector: onnxruntime.InferenceSession
    visual: onnxruntime.InferenceSession | None
    """``None`` as well where the detector does not look at what it gives."""
    motion: onnxruntime.InferenceSession | None
    audio: onnxruntime.InferenceSession | None

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.manifest.name} {self.manifest.version}"

    @property
    def audio_dim(self) -> int:
        """Width of the detector's ``audio`` input."""
        return self.manifest.audio_dim if self.manifest.has_encoders else self._input_width("audio")

    @property
    def visual_dim(self) -> int:
        """Width of the detector's ``visual`` input."""
        return self.manifest.visual_dim if self.manifest.has_encoders else self._input_width("visual")

    def _input_width(self, name: str) -> int:
        (width,) = (node.shape[-1] for node in self.detector.get_inputs() if node.name == name)
        return int(width)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers onnxruntime loaded, the preferred one first."""
        return tuple(self.detector.get_providers())

    @staticmethod
    def load(
        path: Path | str | None = None,
        *,
        device: str = "auto",
        num_threads: int | None = None,
        all_encoders: bool = False,
    ) -> Bundle:
        """Load the bundle at ``path`` (a directory or a ``.zip`` of one), or the one that ships with the package.

        Every file is checked against the manifest's size and hash before it is used.

        Args:
            path: where it is; ``None`` for the embedded default.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``tensorrt``.
            num_threads: of the CPU, for one run of a graph; by default one per processor, but no more than four.
            all_encoders: run also those that the detector ignores: another one is to be trained on what they give.

        Raises:
            BundleError: it is missing, damaged, of another version, or contradicts itself.
            ProviderError: the device was asked for and could not be loaded.
            UsageError: ``device`` is not known.
        """
        location = default_bundle_path() if path is None else Path(path)
        with open_bundle_files(location) as files:
            manifest = files.manifest
            if all_encoders:
                everything = manifest.detector.model_copy(update={"uses_appearance": True})
                manifest = manifest.model_copy(update={"detector": everything})
            parts = {
                "detector": manifest.detector,
                "visual": manifest.appearance,
                "motion": manifest.motion,
                "audio": manifest.audio,
            }
            graphs = {part: files.read_graph(spec.graph) for part, spec in parts.items() if spec is not None}
        num_threads = num_threads or min(os.cpu_count() or 1, _MAX_THREADS)
        provider, notes = choose_provider(device), []
        try:
            sessions = _open_all(graphs, location, provider, num_threads)
        except ProviderError as error:
            if device != "auto":
                raise
            notes.append(f"A GPU is there but cannot be used, running on the CPU: {error}")
            provider = choose_provider("cpu")
            sessions = _open_all(graphs, location, provider, num_threads)
        bundle = Bundle(
            path=location,
            manifest=manifest,
            provider=provider,
            notes=tuple(notes),
            detector=sessions["detector"],
            visual=sessions.get("visual"),
            motion=sessions.get("motion"),
            audio=sessions.get("audio"),
        )
        _check_graphs(bundle)
        return bundle


def _open_all(
    graphs: Mapping[str, bytes], location: Path, provider: Provider, num_threads: int
) -> dict[str, onnxruntime.InferenceSession]:
    """Open the sessions side by side: onnxruntime optimises a graph without holding Python's lock."""
    with ThreadPoolExecutor(max_workers=len(graphs)) as pool:
        opening = {
            part: pool.submit(
                open_session, graph, name=f"{location}: {part}", provider=provider, num_threads=num_threads
            )
            for part, graph in graphs.items()
        }
        return {part: future.result() for part, future in opening.items()}


def _check_graphs(bundle: Bundle) -> None:
    """Inputs, outputs and widths of the graphs are those that the manifest promises."""
    spec = bundle.manifest
    _check_names(bundle, "detector", _detector_inputs(spec.detector), _detector_outputs(spec.detector))
    if spec.appearance is not None:
        _check_names(bundle, "visual", ["frames"], ["embedding"])
        _check_width(bundle, "visual", spec.appearance.embedding_dim)
    if spec.motion is not None:
        _check_names(bundle, "motion", ["luma", "time_s"], ["embedding"])
        _check_width(bundle, "motion", spec.motion.embedding_dim)
    if spec.audio is not None:
        _check_names(bundle, "audio", ["waveform"], ["embedding"])
        _check_width(bundle, "audio", spec.audio.embedding_dim)
    wanted = {"audio": spec.audio_dim, "visual": spec.visual_dim}
    for node in bundle.detector.get_inputs():
        if node.name not in wanted:
            continue
        width = node.shape[-1]
        if not isinstance(width, int):
            raise BundleError(f"{bundle.path}: the detector does not say how many numbers of {node.name} it takes.")
        if spec.has_encoders and width != wanted[node.name]:
            raise BundleError(
                f"{bundle.path}: the detector takes {width} numbers of {node.name} per snippet, the encoders "
                f"give {wanted[node.name]}."
            )


def _detector_inputs(spec: DetectorSpec) -> list[str]:
    if spec.form == "offline":
        return ["audio", "visual"]
    return ["audio", "visual", "present", *(entry.name for entry in spec.state)]


def _detector_outputs(spec: DetectorSpec) -> list[str]:
    if spec.form == "offline":
        return ["scores"]
    return [
        "scores",
        "audio_scores",
        "visual_scores",
        "embedding",
        *(f"{entry.name}_next" for entry in spec.state),
    ]


def _check_names(bundle: Bundle, part: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    session: onnxruntime.InferenceSession = getattr(bundle, part)
    for kind, wanted, nodes in (
        ("input", inputs, session.get_inputs()),
        ("output", outputs, session.get_outputs()),
    ):
        found = {node.name for node in nodes}
        missing = [name for name in wanted if name not in found]
        if missing:
            raise BundleError(
                f"{bundle.path}: the {part} graph has no {kind} called {', '.join(missing)} "
                f"(it has {', '.join(sorted(found))})."
            )


def _check_width(bundle: Bundle, part: str, width: int) -> None:
    session: onnxruntime.InferenceSession = getattr(bundle, part)
    (output,) = (node for node in session.get_outputs() if node.name == "embedding")
    if isinstance(output.shape[-1], int) and output.shape[-1] != width:
        raise BundleError(
            f"{bundle.path}: the {part} graph gives {output.shape[-1]} numbers, its manifest says {width}."
        )
