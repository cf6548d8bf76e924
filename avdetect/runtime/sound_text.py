"""The alignment's graphs, run: sound -> traces, text -> stories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import BundleError, UsageError
from avdetect.manifest import AlignmentSpec, Manifest, TextSpec
from avdetect.runtime.bundle_files import BundleFiles, default_bundle_path, open_bundle_files
from avdetect.runtime.session import Provider, check_inputs, check_outputs, open_session, open_sessions
from avdetect.text.phrase_encoder import Session, TextEncoder
from avdetect.text.phrases import split_phrases
from avdetect.text.scoring import SoundTrace, Story

if TYPE_CHECKING:
    import onnxruntime

_CHUNK_SNIPPETS = 64
"""Number of snippets of a recording that the audio graph takes at once."""


@dataclass(frozen=True, slots=True, eq=False)
class SoundModel:
    """The audio graph: all that a bundle needs whose prompts were baked into it. Safe to share between threads."""

    spec: AlignmentSpec
    session: onnxruntime.InferenceSession

    def check(self, where: Path, *, audio_dim: int) -> None:
        """The graph is what the manifest of the bundle at ``where`` promises, and takes ``audio_dim`` numbers.

        Raises:
            BundleError: it is not, or does not.
        """
        states = [entry.name for entry in self.spec.state]
        following = [f"{name}_next" for name in states]
        inputs = {"audio": audio_dim, "present": None, **dict.fromkeys(states)}
        outputs = {"vectors": self.spec.joint_dim, "salience": None, **dict.fromkeys(following)}
        check_inputs(where, "alignment", self.session, inputs)
        check_outputs(where, "alignment", self.session, outputs)

    def trace(self, audio: NDArray[np.float32], present: NDArray[np.bool_]) -> SoundTrace:
        """Compute the trace of a whole recording.

        Args:
            audio: the scorer's embeddings, ``(T, audio_dim)``.
            present: ``(T,)``.
        """
        stream = SoundStream(self)
        parts = [
            stream.push(audio[start : start + _CHUNK_SNIPPETS], present[start : start + _CHUNK_SNIPPETS])
            for start in range(0, len(audio), _CHUNK_SNIPPETS)
        ]
        parts.append(stream.flush(audio.shape[1]))
        vectors, salience = (np.concatenate(part) for part in zip(*parts, strict=True))
        return SoundTrace(vectors, salience, present)


class SoundStream:
    """Vectors of a stream, chunk by chunk, each ``lookahead_snippets`` after its snippet."""

    def __init__(self, model: SoundModel) -> None:
        self._model = model
        self._early = model.spec.lookahead_snippets
        self._state = {entry.name: np.zeros((1, *entry.shape), entry.dtype) for entry in model.spec.state}

    def push(
        self, audio: NDArray[np.float32], present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take the next snippets, ``(T, audio_dim)`` and ``(T,)``; give the vectors and saliences that became known."""
        names = ["vectors", "salience", *(f"{name}_next" for name in self._state)]
        feed = {"audio": audio[None], "present": present[None], **self._state}
        vectors, salience, *state = self._model.session.run(names, feed)
        self._state = dict(zip(self._state, state, strict=True))
        # The first rows belong to snippets before the stream's start.
        skipped = min(self._early, len(audio))
        self._early -= skipped
        return vectors[0, skipped:], salience[0, skipped:]

    def flush(self, audio_dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The stream has ended: give the rest."""
        ahead = self._model.spec.lookahead_snippets
        if not ahead:
            return np.zeros((0, self._model.spec.joint_dim), np.float32), np.zeros(0, np.float32)
        return self.push(np.zeros((ahead, audio_dim), np.float32), np.zeros(ahead, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """The text graph, and what embeds phrases. Safe to share between threads."""

    session: Session
    encoder: TextEncoder

    def story(self, text: str) -> Story:
        """Place ``text`` in the joint space.

        Raises:
            UsageError: it has no words.
        """
        phrases = split_phrases(text)
        if not phrases:
            raise UsageError(f"{text!r} has no words to look for.")
        texts = tuple(phrase.text for phrase in phrases)
        places = np.array([phrase.place for phrase in phrases], np.int64)
        feed = {
            "phrases": self.encoder(texts)[None],
            "places": places[None],
            "told": np.ones((1, len(phrases)), np.bool_),
        }
        vectors, whole = self.session.run(["phrase_vectors", "text_vector"], feed)
        return Story(texts, vectors[0], places, whole[0])

    def direction(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Compute the common direction of several wordings of the same: that of the mean of their phrases' vectors.

        Returns:
            ``(joint_dim,)``, of unit length.

        Raises:
            UsageError: a text has no words.
        """
        mean = np.concatenate([self.story(text).phrases for text in texts]).mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentModel:
    """Both sides. Safe to share between threads: runs keep no state here."""

    sound: SoundModel
    text: TextModel

    @staticmethod
    def open(
        spec: AlignmentSpec,
        audio_graph: bytes,
        text_graph: bytes,
        encoder: TextEncoder,
        *,
        provider: Provider,
        num_threads: int,
    ) -> AlignmentModel:
        """Open graphs that have not been written to a bundle yet.

        Raises:
            ProviderError: onnxruntime did not load the provider.
            BundleError: onnxruntime cannot read a graph.
        """
        audio = open_session(audio_graph, name=spec.audio_graph, provider=provider, num_threads=num_threads)
        text = open_session(text_graph, name=spec.text_graph or "", provider=provider, num_threads=num_threads)
        return AlignmentModel(SoundModel(spec, audio), TextModel(text, encoder))

    @property
    def spec(self) -> AlignmentSpec:
        """The manifest's part."""
        return self.sound.spec

    def trace(self, audio: NDArray[np.float32], present: NDArray[np.bool_]) -> SoundTrace:
        """See ``SoundModel.trace``."""
        return self.sound.trace(audio, present)

    def story(self, text: str) -> Story:
        """See ``TextModel.story``."""
        return self.text.story(text)


def open_alignment(path: Path | None = None, *, device: str = "auto", num_threads: int | None = None) -> AlignmentModel:
    """Open the alignment of the bundle at ``path`` with its text encoder; every file is checked before it is used.

    Args:
        path: a directory or a ``.zip`` of one; ``None`` for the embedded default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``tensorrt``, for sound; text is always read on the CPU.
        num_threads: of the CPU, for one run of a graph; by default one per processor, but no more than four.

    Raises:
        BundleError: it is missing or damaged, contradicts itself, or has no alignment or no text encoder.
        ProviderError: the device was asked for and could not be loaded.
        UsageError: ``device`` is not known, or the package tokenizers is not installed.
    """
    with open_bundle_files(default_bundle_path() if path is None else path) as files:
        spec = alignment_of(files.path, files.manifest)
        text = open_text_model(files)
        graph = files.read_graph(spec.audio_graph)
    opened = open_sessions({"alignment": graph}, where=files.path, device=device, num_threads=num_threads)
    sound = SoundModel(spec, opened.sessions["alignment"])
    sound.check(files.path, audio_dim=files.manifest.audio_dim)
    return AlignmentModel(sound, text)


def open_text_model(files: BundleFiles, *, for_few: bool = False) -> TextModel:
    """Open the model that places words in the joint space of a bundle, on the CPU.

    Args:
        files: of the bundle.
        for_few: it will see a handful of texts: it opens 0.15 s sooner, and takes 0.02 s longer for each.

    Raises:
        BundleError: a file is damaged, the bundle contradicts itself, or it has no alignment or no text encoder.
        UsageError: the package tokenizers is not installed.
    """
    spec, text = text_side_of(files.path, files.manifest)
    assert spec.text_graph is not None
    graphs = {"text encoder": files.read_graph(text.graph), "alignment's text": files.read_graph(spec.text_graph)}
    tokenizer = files.read_file(text.tokenizer)
    sessions = open_sessions(graphs, where=files.path, device="cpu", num_threads=None, optimise=not for_few).sessions
    encode, place = sessions["text encoder"], sessions["alignment's text"]
    check_inputs(files.path, "text encoder", encode, {"input_ids": None, "attention_mask": None})
    check_outputs(files.path, "text encoder", encode, {"embedding": text.embedding_dim})
    check_inputs(files.path, "alignment's text", place, {"phrases": text.embedding_dim, "places": None, "told": None})
    widths = {"phrase_vectors": spec.joint_dim, "text_vector": spec.joint_dim}
    check_outputs(files.path, "alignment's text", place, widths)
    return TextModel(place, TextEncoder(encode, tokenizer, text))


def alignment_of(path: Path, manifest: Manifest) -> AlignmentSpec:
    """The alignment of the bundle at ``path``.

    Raises:
        BundleError: it has none.
    """
    if manifest.alignment is None:
        raise BundleError(
            f"{path} cannot be asked in words: it has no alignment of sound and text; "
            "`avdetect export --alignment` puts one in."
        )
    return manifest.alignment


def text_side_of(path: Path, manifest: Manifest) -> tuple[AlignmentSpec, TextSpec]:
    """The alignment of the bundle at ``path``, with a text graph, and the text encoder.

    Raises:
        BundleError: it has no alignment, or understands no words but those of its prompts.
    """
    spec, text = alignment_of(path, manifest), manifest.text
    if text is None or spec.text_graph is None:
        raise BundleError(
            f"{path} has no text encoder: it knows the prompts that were put into it, and no others; use the bundle "
            "that it was made from."
        )
    return spec, text
