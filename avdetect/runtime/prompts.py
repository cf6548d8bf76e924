"""Prompts: classes that are told in words instead of learned from labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avdetect.errors import UsageError
from avdetect.manifest import AlignmentSpec, ClassSpec, Manifest, PromptSpec
from avdetect.runtime.bundle_files import BundleFiles
from avdetect.runtime.sound_text import TextModel, open_text_model, text_side_of
from avdetect.text.phrase_encoder import check_tokenizers
from avdetect.text.phrases import split_phrases

_DECIMALS = 6
"""Of a vector's numbers: more than the scores show."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to listen for.

    Raises:
        UsageError: it has no name, or a phrase is none: it has no words, or tells of several things in time.
    """

    name: str
    """Of the class."""
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
    """Whether the bundle at ``path`` takes prompts, as far as its manifest tells.

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
