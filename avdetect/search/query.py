"""A question and a corpus -> the places where it is heard, the best first, over all recordings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from avdetect.events.curve import ScoreCurve
from avdetect.events.segmenter import decide_events
from avdetect.manifest import AlignmentSpec, EventRule
from avdetect.search.answer import Answer, HeardPhrase, Place, QueryOptions
from avdetect.search.corpus import Corpus, peaks
from avdetect.search.passages import NOT_HEARD, Passage, PassageOptions, passages
from avdetect.text.scoring import Floats, SoundTrace, Story, fit, relevance

_ROUNDING = 1e-4
"""Largest difference between the relevance of a recording alone and among many."""


def ask(corpora: Sequence[Corpus], story: Story, spec: AlignmentSpec, options: QueryOptions) -> Answer:
    """Find what ``story`` tells of. The result is exact: every snippet is compared with every phrase.

    Args:
        corpora: what to look through, heard by the alignment of ``spec``.
        story: one phrase, or several.
        spec: the alignment's formulas.
        options: what counts and how much of it is wanted.

    Raises:
        UsageError: the options do not go with the story.
    """
    options.check(story)
    ranking = _Ranking.of(corpora, story, spec)
    find = _phrase_places if len(story.texts) == 1 else _story_places
    places = find(ranking.candidates(options.rule, options.needed(story)), story, spec, options)
    nearest = None if places else next(iter(find(ranking.best(), story, spec, _undemanding(options))), None)
    return Answer(
        phrases=story.texts,
        places=tuple(places),
        nearest=nearest,
        num_recordings=sum(len(corpus.sources) for corpus in corpora),
        heard_s=float(sum(corpus.ends_s.sum() for corpus in corpora)),
    )


def relevance_curve(corpus: Corpus, number: int, story: Story, spec: AlignmentSpec) -> ScoreCurve:
    """The relevance of every phrase to one of the recordings, as the curves of classes of words."""
    trace, borders_s = corpus.trace(number), corpus.times_s(number)
    scores = np.ascontiguousarray(relevance(trace, story.phrases, spec).T)
    return ScoreCurve(
        source=corpus.sources[number],
        classes=story.texts,
        anomaly_classes=(True,) * len(story.texts),
        start_s=borders_s[:-1],
        end_s=borders_s[1:],
        scores=scores,
        audio_scores=scores,
        visual_scores=np.zeros_like(scores),
        present=np.column_stack((trace.present, np.zeros_like(trace.present))),
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A recording worth a closer look."""

    corpus: Corpus
    number: int
    bound: float
    """No place in it has a higher score."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """Recordings by how relevant they are at most."""

    corpora: Sequence[Corpus]
    peaks: Floats
    """Peaks of all their recordings, ``(M, N)``."""

    @staticmethod
    def of(corpora: Sequence[Corpus], story: Story, spec: AlignmentSpec) -> _Ranking:
        """Compare all that there is."""
        found = [peaks(corpus, story.phrases, spec) for corpus in corpora]
        return _Ranking(corpora, np.concatenate(found) if found else np.zeros((0, len(story.texts)), np.float32))

    def candidates(self, rule: EventRule, needed: int) -> Iterator[_Candidate]:
        """Yield recordings in which a phrase reaches ``on`` and enough of them ``off``, the highest bound first."""
        enough = (self.peaks >= rule.off - _ROUNDING).sum(axis=1) >= needed
        enough &= (self.peaks >= rule.on - _ROUNDING).any(axis=1)
        bounds = self.peaks.mean(axis=1)
        corpus_of = np.repeat(np.arange(len(self.corpora)), [len(corpus.sources) for corpus in self.corpora])
        first_of = np.searchsorted(corpus_of, np.arange(len(self.corpora)))
        for at in np.argsort(-bounds, kind="stable").tolist():
            if enough[at]:
                corpus = int(corpus_of[at])
                yield _Candidate(self.corpora[corpus], at - int(first_of[corpus]), float(bounds[at]))

    def best(self) -> Iterator[_Candidate]:
        """The one with the highest bound, if there is any sound."""
        return (one for one in islice(self.candidates(EventRule(on=0.0, off=0.0), 0), 1) if one.bound > 0)


def _undemanding(options: QueryOptions) -> QueryOptions:
    """Whatever comes nearest."""
    rule = options.rule.model_copy(update={"on": 0.0, "off": 0.0, "min_duration_s": 0.0})
    return replace(options, rule=rule, top=1, in_order=False, at_least=1)


def _phrase_places(
    candidates: Iterable[_Candidate], story: Story, spec: AlignmentSpec, options: QueryOptions
) -> list[Place]:
    """The best places of one phrase; candidates come by their bound, the highest first."""
    best: list[Place] = []
    for candidate in candidates:
        if len(best) == options.top and best[-1].score > candidate.bound + _ROUNDING:
            break  # nothing better can come
        curve = relevance_curve(candidate.corpus, candidate.number, story, spec)
        for event in decide_events(_decisive(curve, options.rule, float(candidate.corpus.hop)), [options.rule]):
            heard = HeardPhrase(story.texts[0], event.confidence, event.peak_s)
            best.append(
                Place(curve.source, event.start_s, event.end_s, event.confidence, event.peak_s, (heard,), fit=None)
            )
        best.sort(key=lambda place: -place.score)
        del best[options.top :]
    return best


def _decisive(curve: ScoreCurve, rule: EventRule, hop_s: float) -> ScoreCurve:
    """The snippets of a curve of one class that decide its events: few of most recordings.

    What is left out lies further than the rule looks from all that could hold an event open. The hole that it leaves
    ends a stretch, which ends nothing that would have gone on.
    """
    if not len(curve.start_s):
        return curve
    reach = rule.smooth_snippets + math.ceil(rule.merge_gap_s / hop_s) + 1
    could_hold = curve.scores[:, 0].astype(np.float64) >= rule.off
    near = np.convolve(could_hold, np.ones(2 * reach + 1))[reach:-reach] > 0.5
    return replace(
        curve,
        start_s=curve.start_s[near],
        end_s=curve.end_s[near],
        scores=curve.scores[near],
        audio_scores=curve.audio_scores[near],
        visual_scores=curve.visual_scores[near],
        present=curve.present[near],
    )


def _story_places(
    candidates: Iterable[_Candidate], story: Story, spec: AlignmentSpec, options: QueryOptions
) -> list[Place]:
    """The best passages of a story."""
    places = [place for candidate in candidates for place in _passages(candidate, story, spec, options)]
    places.sort(key=lambda place: (-(place.fit or 0.0), -place.score))
    return places[: options.top]


def _passages(candidate: _Candidate, story: Story, spec: AlignmentSpec, options: QueryOptions) -> Iterator[Place]:
    """The best passages of a recording."""
    trace = candidate.corpus.trace(candidate.number)
    curve = relevance_curve(candidate.corpus, candidate.number, story, spec)
    window = max(int(options.within_s / float(candidate.corpus.hop) + _ROUNDING), 1)
    chosen = PassageOptions(options.rule.on, options.rule.off, window, options.needed(story), options.in_order)
    found = passages(curve.scores.T, story.places, chosen)
    for passage in islice(found, options.top):
        yield _place(curve, passage, story, fit(_around(trace, passage, window), story, spec).fused)


def _around(trace: SoundTrace, passage: Passage, window: int) -> SoundTrace:
    """The stretch of ``window`` snippets with ``passage`` in its middle, as far as the recording allows."""
    first = max(min((passage.first + passage.last + 1 - window) // 2, len(trace.present) - window), 0)
    part = slice(first, first + window)
    return SoundTrace(trace.vectors[part], trace.salience[part], trace.present[part])


def _place(curve: ScoreCurve, passage: Passage, story: Story, fused: float) -> Place:
    middle_s = (curve.start_s + curve.end_s) / 2
    phrases = tuple(
        HeardPhrase(text, relevant, None if at == NOT_HEARD else float(middle_s[at]))
        for text, at, relevant in zip(story.texts, passage.snippets, passage.relevance, strict=True)
    )
    return Place(
        source=curve.source,
        start_s=float(curve.start_s[passage.first]),
        end_s=float(curve.end_s[passage.last]),
        score=passage.score,
        peak_s=max((phrase.relevance, phrase.time_s or 0.0) for phrase in phrases)[1],
        phrases=phrases,
        fit=fused,
    )
