"""Evaluation of an alignment on a list of recordings and their texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import BundleError, DataError, UsageError
from avdetect.evaluation.retrieval import (
    Answers,
    AskedTrack,
    Classification,
    PhraseCurve,
    TextEvaluation,
    answers,
    classification,
    localisation,
    order_accuracy,
    recall,
)
from avdetect.events.curve import ScoreCurve
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.hearing import Ears
from avdetect.runtime.sound_text import AlignmentModel
from avdetect.text.composer import moments_of
from avdetect.text.phrases import Moment, split_phrases, tell
from avdetect.text.records import HeardSound, TextRecord
from avdetect.text.scoring import SoundTrace, fit, relevance
from avdetect.timebase import Span

_SNIPPETS_PER_PICK = 4
"""A sound's score for a class is the mean of its highest ``T // 4 + 1`` snippets."""


@dataclass(frozen=True, slots=True, eq=False)
class HeardRecord:
    """A record and what it leaves behind."""

    record: TextRecord
    trace: SoundTrace
    start_s: NDArray[np.float64]
    """Starts of the snippets, ``(T,)``."""
    end_s: NDArray[np.float64]
    """``(T,)``."""

    @property
    def duration_s(self) -> float:
        """The end of the last snippet; 0 without any."""
        return float(self.end_s[-1]) if self.end_s.size else 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """A phrase to look for, and which sounds it fits."""

    text: str
    labels: frozenset[str]
    """Classes of sounds that it fits, or may fit."""
    is_description: bool
    """True if it is sure to fit only the sounds with this very description."""

    def heard_in(self, sounds: Sequence[HeardSound]) -> tuple[Span, ...] | None:
        """Return where it is heard; None where that is not known."""
        fitting = tuple(
            sound.span
            for sound in sounds
            if (sound.text == self.text if self.is_description else sound.label in self.labels)
        )
        unsure = any(
            sound.label in self.labels or (sound.label is None and not self.is_description) for sound in sounds
        )
        return fitting if fitting or not unsure else None


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

    Retrieval is among the recordings whose text tells of several sounds; order, localisation and what comes of asking
    need to be known when each sound is heard; classes need labels.

    Args:
        records: at least one.
        model: the alignment.
        bundle: whose audio encoder it was trained with.
        prompts: phrases by class; None for the classes' names.
        seed: of the wording of the stories that order is measured with, and of which sounds are exchanged.
        on_done: called with the number of recordings heard and to hear, after each.

    Raises:
        MediaError: a recording cannot be read.
        BundleError: the bundle has no audio encoder.
        UsageError: a class has no prompts.
        DataError: the records allow nothing.
    """
    heard = listen_to_all(records, model, bundle, on_done=on_done)
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
        asking=_asking(timed, model, prompts or {}),
        classification=_classify(labelled, model, prompts) if labelled else None,
    )


def listen_to_all(
    records: Sequence[TextRecord],
    model: AlignmentModel,
    bundle: Bundle,
    *,
    on_done: Callable[[int, int], None] | None = None,
) -> list[HeardRecord]:
    """Listen to every record; arguments and errors as for ``evaluate_text``."""
    if bundle.audio is None:
        raise BundleError(f"{bundle.path} has no audio encoder: it scores features, not recordings.")
    ears = Ears(
        manifest=bundle.manifest.model_copy(update={"visual": None, "motion": None}),
        audio=bundle.audio,
        sound=model.sound,
        notes=bundle.notes,
        is_cpu=bundle.provider.is_cpu,
    )
    heard = []
    for number, record in enumerate(records, 1):
        trace = ears.hear(record.media).trace
        borders_s = np.arange(len(trace.present) + 1, dtype=np.float64) * bundle.manifest.hop_s
        heard.append(HeardRecord(record, trace, borders_s[:-1], borders_s[1:]))
        if on_done is not None:
            on_done(number, len(records))
    return heard


def descriptions_of(timed: Sequence[HeardRecord]) -> list[Question]:
    """The descriptions of all sounds."""
    labels: dict[str, set[str]] = {}
    for sound in _sounds(timed):
        labels.setdefault(sound.text, set()).update([] if sound.label is None else [sound.label])
    return [Question(text, frozenset(of_text), is_description=True) for text, of_text in sorted(labels.items())]


def class_names_of(timed: Sequence[HeardRecord]) -> list[Question]:
    """The names of the classes of all sounds."""
    names = sorted({sound.label for sound in _sounds(timed) if sound.label is not None})
    return [Question(name, frozenset([name]), is_description=False) for name in names]


def ask(timed: Sequence[HeardRecord], questions: Sequence[Question], model: AlignmentModel) -> list[AskedTrack]:
    """Look for every question in every recording of which it is known what is heard when."""
    phrases = [model.story(question.text).phrases for question in questions]
    return [_asked(one, questions, phrases, model) for one in timed]


def _asked(
    one: HeardRecord, questions: Sequence[Question], phrases: Sequence[NDArray[np.float32]], model: AlignmentModel
) -> AskedTrack:
    curves = [relevance(one.trace, vectors, model.spec).max(axis=0) for vectors in phrases]
    scores = np.stack(curves, axis=1)
    curve = ScoreCurve(
        source=one.record.name,
        classes=tuple(question.text for question in questions),
        anomaly_classes=(True,) * len(questions),
        start_s=one.start_s,
        end_s=one.end_s,
        scores=scores,
        audio_scores=scores,
        visual_scores=np.zeros_like(scores),
        present=np.stack([one.trace.present, np.zeros_like(one.trace.present)], axis=1),
    )
    return AskedTrack(curve, tuple(question.heard_in(one.record.sounds or ()) for question in questions))


def _asking(
    timed: Sequence[HeardRecord], model: AlignmentModel, prompts: Mapping[str, Sequence[str]]
) -> dict[str, Answers]:
    kinds = {
        "descriptions": descriptions_of(timed),
        "class names": class_names_of(timed),
        "prompts": [
            Question(phrase, frozenset([name]), is_description=False)
            for name, phrases in prompts.items()
            for phrase in phrases
        ],
    }
    return {
        kind: answers(ask(timed, questions, model), model.spec.prompt_rule)
        for kind, questions in kinds.items()
        if timed and questions
    }


def _sounds(timed: Sequence[HeardRecord]) -> Iterator[HeardSound]:
    for one in timed:
        yield from one.record.sounds or ()


def _retrieval_scores(tracks: Sequence[HeardRecord], model: AlignmentModel) -> NDArray[np.float64]:
    stories = [model.story(one.record.text) for one in tracks]
    return np.array([[fit(one.trace, story, model.spec).fused for story in stories] for one in tracks])


def _twin_scores(
    timed: Sequence[HeardRecord], model: AlignmentModel, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For every track with two distinguishable sounds, score its story, and its story with the two exchanged."""
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


def _curves(timed: Sequence[HeardRecord], model: AlignmentModel) -> list[PhraseCurve]:
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
    labelled: Sequence[HeardRecord], model: AlignmentModel, prompts: Mapping[str, Sequence[str]] | None
) -> Classification:
    labels = [one.record.label or "" for one in labelled]
    names = sorted(prompts) if prompts is not None else sorted(set(labels))
    missing = sorted(set(labels) - set(names))
    if missing:
        raise UsageError(f"there are no prompts for the class {', '.join(missing)}.")
    classes = np.stack([model.text.direction((prompts or {}).get(name, [name])) for name in names])
    scores = np.stack([_highest(classes @ one.trace.vectors.T) for one in labelled])
    return classification(scores, labels, names)


def _highest(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(C, T)`` -> the mean of each class's highest snippets, ``(C,)``; lowest of all without any."""
    num_snippets = similarity.shape[1]
    if not num_snippets:
        return np.full(len(similarity), -1.0)
    picked = num_snippets // _SNIPPETS_PER_PICK + 1
    return np.asarray(np.sort(similarity, axis=1)[:, -picked:].mean(axis=1), np.float64)
