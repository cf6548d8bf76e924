"""A bundle, loaded: files, hashes, graphs and manifest agree, or ``BundleError``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avdetect.errors import BundleError
from avdetect.features.encoders import EncoderSessions
from avdetect.manifest import Manifest
from avdetect.runtime.bundle_files import default_bundle_path, open_bundle_files
from avdetect.runtime.session import Provider, check_inputs, check_outputs, open_sessions

if TYPE_CHECKING:
    import onnxruntime

    from avdetect.runtime.prompts import Prompt
    from avdetect.runtime.sound_text import SoundModel


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A manifest and a session for each of its graphs. Safe to share between threads: runs keep no state here."""

    path: Path
    manifest: Manifest
    provider: Provider
    """The execution provider that runs the graphs."""
    notes: tuple[str, ...]
    """Notes for the user about loading it."""
    detector_session: onnxruntime.InferenceSession | None
    """``None`` where the bundle holds encoders alone, and was opened for them."""
    visual: onnxruntime.InferenceSession | None
    """``None`` as well where the detector does not look at what it gives."""
    motion: onnxruntime.InferenceSession | None
    audio: onnxruntime.InferenceSession | None
    alignment: SoundModel | None
    """The model that compares sound with prompts; ``None`` where no class is prompted."""

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.manifest.name} {self.manifest.version}"

    @property
    def detector(self) -> onnxruntime.InferenceSession:
        """The session of the detector.

        Raises:
            BundleError: there is none.
        """
        if self.detector_session is None:
            self.manifest.require_detector()
            raise BundleError(f"{self.path}: the detector was not opened.")
        return self.detector_session

    @property
    def encoders(self) -> EncoderSessions:
        """The sessions that make embeddings of snippets."""
        return EncoderSessions(self.visual, self.motion, self.audio)

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
        prompts: Sequence[Prompt] = (),
        device: str = "auto",
        num_threads: int | None = None,
        all_encoders: bool = False,
    ) -> Bundle:
        """Load the bundle at ``path`` (a directory or a ``.zip`` of one), or the one that ships with the package.

        Every file is checked against the manifest's size and hash before it is used.

        Args:
            path: where it is; ``None`` for the embedded default.
            prompts: classes of words, to be found as well: they come after those that the bundle has. The text encoder
                is opened for them only.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``tensorrt``.
            num_threads: of the CPU, for one run of a graph; by default one per processor, but no more than four.
            all_encoders: run also those that the detector ignores: another one is to be trained on what they give.

        Raises:
            BundleError: it is missing, damaged, of another version, or contradicts itself; or it has no text encoder
                for the prompts.
            ProviderError: the device was asked for and could not be loaded.
            UsageError: ``device`` is not known, a prompt cannot be used, or the package tokenizers is not installed.
        """
        location = default_bundle_path() if path is None else Path(path)
        with open_bundle_files(location) as files:
            manifest = files.manifest
            if prompts:
                from avdetect.runtime.prompts import with_prompts  # only when asked: it takes time to import

                manifest = with_prompts(files, prompts)
            if all_encoders:
                if manifest.detector is not None:
                    everything = manifest.detector.model_copy(update={"uses_appearance": True})
                    manifest = manifest.model_copy(update={"detector": everything})
            else:
                manifest.require_detector()
            graphs = {part: files.read_graph(graph) for part, graph in _graphs_to_run(manifest).items()}
        opened = open_sessions(graphs, where=location, device=device, num_threads=num_threads)
        sessions = opened.sessions
        bundle = Bundle(
            path=location,
            manifest=manifest,
            provider=opened.provider,
            notes=opened.notes,
            detector_session=sessions.get("detector"),
            visual=sessions.get("visual"),
            motion=sessions.get("motion"),
            audio=sessions.get("audio"),
            alignment=_sound_model(manifest, sessions.get("alignment")),
        )
        _check_graphs(bundle)
        return bundle


def _graphs_to_run(manifest: Manifest) -> dict[str, str]:
    """The paths, by part."""
    parts = {
        "detector": manifest.detector,
        "visual": manifest.appearance,
        "motion": manifest.motion,
        "audio": manifest.audio,
    }
    graphs = {part: spec.graph for part, spec in parts.items() if spec is not None}
    if manifest.alignment is not None and manifest.prompted_classes:
        graphs["alignment"] = manifest.alignment.audio_graph
    return graphs


def _sound_model(manifest: Manifest, session: onnxruntime.InferenceSession | None) -> SoundModel | None:
    if session is None or manifest.alignment is None:
        return None
    from avdetect.runtime.sound_text import SoundModel  # only where a class is prompted: it takes time to import

    return SoundModel(manifest.alignment, session)


def _check_graphs(bundle: Bundle) -> None:
    """Inputs, outputs and widths of the graphs are those that the manifest promises."""
    where, spec = bundle.path, bundle.manifest
    if spec.appearance is not None and bundle.visual is not None:
        check_inputs(where, "visual", bundle.visual, {"frames": None})
        check_outputs(where, "visual", bundle.visual, {"embedding": spec.appearance.embedding_dim})
    if spec.motion is not None and bundle.motion is not None:
        check_inputs(where, "motion", bundle.motion, {"luma": None, "time_s": None})
        check_outputs(where, "motion", bundle.motion, {"embedding": spec.motion.embedding_dim})
    if spec.audio is not None and bundle.audio is not None:
        check_inputs(where, "audio", bundle.audio, {"waveform": None})
        check_outputs(where, "audio", bundle.audio, {"embedding": spec.audio.embedding_dim})
    _check_detector(bundle)
    if bundle.alignment is not None:
        bundle.alignment.check(where, audio_dim=bundle.audio_dim)


def _check_detector(bundle: Bundle) -> None:
    spec = bundle.manifest
    if spec.detector is None:
        return
    states = [entry.name for entry in spec.detector.state]
    num_classes = len(spec.detected_classes)
    inputs: dict[str, int | None] = {"audio": None, "visual": None}
    outputs: dict[str, int | None] = {"scores": num_classes}
    if spec.detector.form == "streaming":
        inputs |= dict.fromkeys(["present", *states])
        outputs |= dict.fromkeys(["audio_scores", "visual_scores"], num_classes)
        outputs |= dict.fromkeys(["embedding", *(f"{name}_next" for name in states)])
    check_inputs(bundle.path, "detector", bundle.detector, inputs)
    check_outputs(bundle.path, "detector", bundle.detector, outputs)
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
