"""How good an alignment is on a manifest: listens to its recordings, tells it their texts, and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import DataError, UsageError
from avdetect.evaluation.retrieval import (
    Classification,
    PhraseCurve,
    TextEvaluation,
    classification,
    localisation,
    order_accuracy,
    recall,
)
from avdetect.features.encoders import EncoderSessions, SnippetEncoder
from avdetect.media.source import open_source
from avdetect.runtime.alignment import AlignmentModel
from avdetect.runtime.bundle import Bundle
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.grid import stream_plan
from avdetect.stage import through
from avdetect.text.composer import moments_of
from avdetect.text.grammar import Moment, tell
from avdetect.text.phrases import split_phrases
from avdetect.text.records import TextRecord
from avdetect.text.scoring import SoundTrace, fit, relevance

__all__ = ["evaluate_text", "listen"]

_SNIPPETS_PER_PICK = 4
"""A sound's score for a class is the mean of its highest ``T // 4 + 1`` snippets."""


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A record and what it leaves behind."""

    record: TextRecord
    trace: SoundTrace
    start_s: NDArray[np.float64]
    duration_s: float


def listen(path: Path, bundle: Bundle, model: AlignmentModel) -> tuple[SoundTrace, NDArray[np.float64], float]:
    """The trace of a file's sound, when its snippets start, and how long it is in seconds.

    Raises:
        MediaError: it cannot be opened, or nothing of it could be decoded.
    """
    manifest = bundle.manifest.model_copy(update={"visual": None, "motion": None})
    with open_source(path, stream_plan(manifest), decoder_threads=1) as media:
        assembler = SnippetAssembler(manifest, has_video=False, has_audio=media.info.audio_codec is not None)
        encoder = SnippetEncoder(manifest, EncoderSessions(None, None, bundle.audio), batch_snippets=16)
        snippets = list(through(through(media.packets(), assembler), encoder))
    if not snippets:
        return model.trace(np.zeros((0, manifest.audio_dim), np.float32), np.zeros(0, np.bool_)), np.zeros(0), 0.0
    audio = np.stack([snippet.audio for snippet in snippets])
    present = np.array([snippet.audio_present for snippet in snippets])
    starts = np.array([snippet.span.start_s for snippet in snippets])
    return model.trace(audio, present), starts, snippets[-1].span.end_s


def evaluate_text(
    records: Sequence[TextRecord],
    model: AlignmentModel,
    bundle: Bundle,
    *,
    prompts: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    on_done: Callable[[int, int], None] | None = None,
) -> TextEvaluation:
    """Measure whatever the records allow.

    Retrieval is among the recordings whose text tells of several sounds; order and localisation need to be known when
    each sound is heard; classes need labels.

    Args:
        records: at least one.
        model: the alignment.
        bundle: whose audio encoder it was trained with.
        prompts: phrases by class; None for the classes' names.
        seed: of the wording of the stories that order is measured with, and of which sounds are exchanged.
        on_done: called with the number of recordings heard and to hear, after each.

    Raises:
        MediaError: a recording cannot be read.
        UsageError: a class has no prompts.
        DataError: the records allow nothing.
    """
    heard = []
    for number, record in enumerate(records, 1):
        trace, starts, duration_s = listen(record.media, bundle, model)
        heard.append(_Heard(record, trace, starts, duration_s))
        if on_done is not None:
            on_done(number, len(records))
    tracks = [one for one in heard if len(split_phrases(one.record.text)) > 1]
    timed = [one for one in heard if one.record.sounds]
    labelled = [one for one in heard if one.record.label is not None]
    if len(tracks) < 2 and not timed and not labelled:
        raise DataError("there is nothing to measure: no tracks of several sounds, no times, no classes.")
    right, twins = _twin_scores(timed, model, np.random.default_rng(seed))
    return TextEvaluation(
        retrieval=recall(_retrieval_scores(tracks, model)) if len(tracks) > 1 else None,
        order_accuracy=order_accuracy(right, twins) if right.size else None,
        num_twins=right.size,
        localisation=localisation(_curves(timed, model)) if timed else None,
        classification=_classify(labelled, model, prompts) if labelled else None,
    )


def _retrieval_scores(tracks: Sequence[_Heard], model: AlignmentModel) -> NDArray[np.float64]:
    stories = [model.story(one.record.text) for one in tracks]
    return np.array([[fit(one.trace, story, model.spec).fused for story in stories] for one in tracks])


def _twin_scores(
    timed: Sequence[_Heard], model: AlignmentModel, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of every track with two sounds that can be told apart: its story told anew, and with the two exchanged."""
    right: list[float] = []
    twins: list[float] = []
    for one in timed:
        moments = moments_of(one.record.sounds or ())
        pair = _exchangeable(one.record, moments, rng)
        if pair is None:
            continue
        first, second = pair
        exchanged = list(moments)
        exchanged[first], exchanged[second] = exchanged[second], exchanged[first]
        wording = int(rng.integers(2**32))  # both are told in the same words
        for told, scores in ((moments, right), (exchanged, twins)):
            story = model.story(tell(told, np.random.default_rng(wording)))
            scores.append(fit(one.trace, story, model.spec).fused)
    return np.array(right), np.array(twins)


def _exchangeable(record: TextRecord, moments: Sequence[Moment], rng: np.random.Generator) -> tuple[int, int] | None:
    """Two moments that have neither a description nor a class in common."""
    labels = {sound.text: sound.label for sound in record.sounds or ()}
    marks = [{*moment, *(labels[text] for text in moment if labels[text] is not None)} for moment in moments]
    pairs = [(a, b) for a in range(len(marks)) for b in range(a + 1, len(marks)) if not marks[a] & marks[b]]
    return pairs[int(rng.integers(len(pairs)))] if pairs else None


def _curves(timed: Sequence[_Heard], model: AlignmentModel) -> list[PhraseCurve]:
    """One for every description of every track."""
    curves = []
    for one in timed:
        sounds = one.record.sounds or ()
        for text in dict.fromkeys(sound.text for sound in sounds):
            story = model.story(text)
            curves.append(
                PhraseCurve(
                    start_s=one.start_s,
                    relevance=relevance(one.trace, story.phrases, model.spec).max(axis=0),
                    duration_s=one.duration_s,
                    heard=tuple(sound.span for sound in sounds if sound.text == text),
                )
            )
    return curves


def _classify(
    labelled: Sequence[_Heard], model: AlignmentModel, prompts: Mapping[str, Sequence[str]] | None
) -> Classification:
    labels = [one.record.label or "" for one in labelled]
    names = sorted(prompts) if prompts is not None else sorted(set(labels))
    missing = sorted(set(labels) - set(names))
    if missing:
        raise UsageError(f"there are no prompts for the class {', '.join(missing)}.")
    classes = np.stack([_class_vector((prompts or {}).get(name, [name]), model) for name in names])
    scores = np.stack([_highest(classes @ one.trace.vectors.T) for one in labelled])
    return classification(scores, labels, names)


def _class_vector(prompts: Sequence[str], model: AlignmentModel) -> NDArray[np.float32]:
    """The direction of the mean of the prompts' vectors."""
    vectors = np.concatenate([model.story(prompt).phrases for prompt in prompts])
    mean = vectors.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def _highest(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(C, T)`` -> the mean of each class's highest snippets, ``(C,)``; lowest of all without any."""
    num_snippets = similarity.shape[1]
    if not num_snippets:
        return np.full(len(similarity), -1.0)
    picked = num_snippets // _SNIPPETS_PER_PICK + 1
    return np.asarray(np.sort(similarity, axis=1)[:, -picked:].mean(axis=1), np.float64)
