"""Prompts: classes that are told in words instead of learned from labels, and how they are scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.events.curve import Rescaling
from avdetect.events.event import SnippetScore
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import AlignmentSpec, ClassSpec, Manifest, PromptSpec
from avdetect.runtime.bundle_files import BundleFiles
from avdetect.runtime.sound_text import SoundModel, SoundStream, TextModel, open_text_model, text_side_of
from avdetect.stage import Stage
from avdetect.text.phrase_encoder import check_tokenizers
from avdetect.text.phrases import split_phrases
from avdetect.text.scoring import SoundTrace, relevance

_DECIMALS = 6
"""Number of decimals of a vector's numbers; more than the scores show."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A class that is described in words.

    Raises:
        UsageError: it has no name, or a phrase is none: it has no words, or tells of several things in time.
    """

    name: str
    """The name of the class."""
    phrases: tuple[str, ...]
    """Wordings of the same; what they have in common is looked for."""

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a prompt must have a name, as in 'alarm=a smoke alarm beeps'.")
        if not self.phrases:
            raise UsageError(f"the prompt {self.name} has no phrase that says what to listen for.")
        for phrase in self.phrases:
            found = split_phrases(phrase)
            if not found:
                raise UsageError(f"the prompt {self.name} has a phrase without words: say what to listen for.")
            if len(found) > 1:
                told = ", ".join(repr(one.text) for one in found)
                raise UsageError(
                    f"the prompt {phrase!r} tells of several things ({told}), and a class is one: give each a prompt "
                    "of its own, or look for their order with `avdetect query --order`."
                )


def parse_prompts(texts: Sequence[str]) -> tuple[Prompt, ...]:
    """Prompts as they are written: ``glass breaks``, or ``alarm=a smoke alarm beeps`` with a name.

    Those of the same name are wordings of the same.

    Raises:
        UsageError: one is no prompt.
    """
    wordings: dict[str, list[str]] = {}
    for text in texts:
        name, equals, phrase = (part.strip() for part in text.partition("="))
        if not name:
            raise UsageError(f"the prompt {text!r} is empty: write a phrase, as in 'glass breaks', or NAME=PHRASE.")
        wordings.setdefault(name, []).append(phrase if equals else name)
    return tuple(Prompt(name, tuple(dict.fromkeys(phrases))) for name, phrases in wordings.items())


def check_new(prompts: Sequence[Prompt], class_names: Sequence[str]) -> None:
    """No prompt is called like another one, or like a class that is there already.

    Raises:
        UsageError: one is.
    """
    taken = set(class_names)
    for prompt in prompts:
        if prompt.name in taken:
            raise UsageError(
                f"there is a class called {prompt.name} already: give the prompt another name, as in "
                f"'{prompt.name} 2={prompt.phrases[0]}'."
            )
        taken.add(prompt.name)


def check_understands(path: Path, manifest: Manifest) -> None:
    """Check that the bundle at ``path`` takes prompts, as far as its manifest tells.

    Raises:
        BundleError: it has no alignment or no text encoder.
        UsageError: the package tokenizers is not installed.
    """
    text_side_of(path, manifest)
    check_tokenizers()


def with_prompts(files: BundleFiles, prompts: Sequence[Prompt]) -> Manifest:
    """The manifest of a bundle, with a class for each prompt after those that it has.

    Raises:
        BundleError: the bundle has no alignment or no text encoder, or they are damaged.
        UsageError: a prompt is called like another class, or the package tokenizers is not installed.
    """
    manifest = files.manifest
    check_new(prompts, manifest.class_names)
    text = open_text_model(files, for_few=True)
    assert manifest.alignment is not None  # or there would be no text model
    added = tuple(_prompted_class(prompt, text, manifest.alignment) for prompt in prompts)
    return manifest.model_copy(update={"classes": (*manifest.classes, *added)})


def _prompted_class(prompt: Prompt, text: TextModel, spec: AlignmentSpec) -> ClassSpec:
    vector = tuple(round(float(number), _DECIMALS) for number in text.direction(prompt.phrases))
    return ClassSpec(name=prompt.name, rule=spec.prompt_rule, prompt=PromptSpec(phrases=prompt.phrases, vector=vector))


class PromptedScorer:
    """Stage: what ``detector`` makes of the snippets, with the scores of prompted classes behind.

    The relevance of the sound to a prompt is both the score and the audio score of its class; nothing is seen of it,
    and without sound it is 0. The two look ahead differently far: what is known first waits for the other.

    Args:
        detector: gives one score for each snippet, in order.
        model: of the bundle.
        classes: the prompted ones.
        audio_dim: width of the audio embeddings.
        chunk_snippets: how many snippets the alignment's graph takes at once; 1 for live feeds, where waiting costs
            latency.
    """

    def __init__(
        self,
        detector: Stage[SnippetEmbedding, SnippetScore],
        model: SoundModel,
        classes: Sequence[ClassSpec],
        *,
        audio_dim: int,
        chunk_snippets: int,
    ) -> None:
        self._detector = detector
        self._spec = model.spec
        self._stream = SoundStream(model)
        self._audio_dim = audio_dim
        self._chunk_snippets = chunk_snippets
        self._prompts = np.array([spec.prompt.vector for spec in classes if spec.prompt is not None], np.float32)
        self._rescaling = Rescaling.of(classes)
        self._unheard: list[SnippetEmbedding] = []
        self._present: deque[bool] = deque()  # of the snippets that are heard, or are to be, and not known yet
        self._detected: deque[SnippetScore] = deque()
        self._prompted: deque[NDArray[np.float32]] = deque()

    def push(self, item: SnippetEmbedding) -> Iterable[SnippetScore]:
        """Take the next snippet's embeddings; give back the scores that are now known."""
        self._detected.extend(self._detector.push(item))
        self._unheard.append(item)
        self._present.append(item.audio_present)
        if len(self._unheard) >= self._chunk_snippets:
            self._hear()
        return self._joined()

    def flush(self) -> Iterable[SnippetScore]:
        """The stream has ended: give back the rest."""
        self._detected.extend(self._detector.flush())
        if self._unheard:
            self._hear()
        self._take(*self._stream.flush(self._audio_dim))
        return self._joined()

    def _hear(self) -> None:
        chunk, self._unheard = self._unheard, []
        audio = np.stack([item.audio for item in chunk])
        self._take(*self._stream.push(audio, np.array([item.audio_present for item in chunk])))

    def _take(self, vectors: NDArray[np.float32], salience: NDArray[np.float32]) -> None:
        """Compare with the prompts what has become known."""
        present = np.array([self._present.popleft() for _ in range(len(vectors))], np.bool_)
        found = relevance(SoundTrace(vectors, salience, present), self._prompts, self._spec)
        self._prompted.extend(self._rescaling.apply(found.T))

    def _joined(self) -> list[SnippetScore]:
        """The snippets of which both sides are known."""
        num_known = min(len(self._detected), len(self._prompted))
        return [_with(self._detected.popleft(), self._prompted.popleft()) for _ in range(num_known)]


def _with(score: SnippetScore, prompted: NDArray[np.float32]) -> SnippetScore:
    return replace(
        score,
        scores=np.concatenate([score.scores, prompted]),
        audio_scores=np.concatenate([score.audio_scores, prompted]),
        visual_scores=np.concatenate([score.visual_scores, np.zeros_like(prompted)]),
    )
