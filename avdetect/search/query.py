"""What is asked of a corpus, and the answer: the places where it is heard, the best first, over all recordings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.events.segmenter import decide_events
from avdetect.manifest import AlignmentSpec, EventRule
from avdetect.search.corpus import Corpus, Recording
from avdetect.search.passages import NOT_HEARD, Passage, PassageOptions, passages
from avdetect.text.scoring import Floats, SoundTrace, Story, fit, probability, relevance

__all__ = ["Answer", "HeardPhrase", "Place", "QueryOptions", "ask", "relevance_curve"]

_BLOCK_ROWS = 1 << 16
"""How many snippets are compared at once."""
_ROUNDING = 1e-4
"""By which the relevance of one recording may differ from what it was among many."""


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What the user chooses."""

    rule: EventRule
    """What makes places of relevance; of it, a story needs ``on`` alone."""
    top: int = 20
    """How many places are wanted."""
    in_order: bool = False
    """Whether the phrases of a story must be heard in its order."""
    within_s: float = 300.0
    """How long a passage of a story may be; a longer recording is compared with it in stretches of this length."""
    at_least: int | None = None
    """How many phrases of a story a passage must hold; ``None`` for two thirds of them, but two."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"top must be at least 1, got {self.top}.")
        if not self.within_s > 0:
            raise UsageError(f"within must be above zero, got {self.within_s:g} s.")
        if self.at_least is not None and self.at_least < 1:
            raise UsageError(f"a passage must hold at least 1 phrase, got {self.at_least}.")

    def check(self, story: Story) -> None:
        """Whether ``story`` can be asked so.

        Raises:
            UsageError: the order of one phrase is asked for, or more phrases than there are.
        """
        told = len(story.texts)
        if self.in_order and told == 1:
            raise UsageError(
                f"--order needs several phrases, and {story.texts[0]!r} is one: join them by 'then', 'before' or "
                "'after'."
            )
        if self.at_least is not None and self.at_least > told:
            raise UsageError(f"--at-least {self.at_least} is more than the text has phrases: it has {told}.")

    def needed(self, num_phrases: int) -> int:
        """How many phrases of a story of ``num_phrases`` a passage must hold."""
        if self.at_least is None:
            return min(max(math.ceil(2 * num_phrases / 3), 2), num_phrases)
        return self.at_least


@dataclass(frozen=True, slots=True)
class HeardPhrase:
    """A phrase in a place."""

    text: str
    relevance: float
    """Of the snippet that it is most heard in; 0 where it is not heard."""
    time_s: float | None
    """The middle of that snippet."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where what was asked for is heard."""

    source: str
    start_s: float
    """Seconds from the grid's origin."""
    end_s: float
    score: float
    """Of one phrase, its highest smoothed relevance; of a story, the mean relevance of its phrases."""
    peak_s: float
    """Middle of the most relevant snippet."""
    phrases: tuple[HeardPhrase, ...]
    """All that was asked for, as told."""
    fit: float | None
    """How well the recording, or the stretch of it around a passage, fits a story as a whole; ``None`` for a phrase."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found."""

    phrases: tuple[str, ...]
    """What was asked for, as it was understood."""
    places: tuple[Place, ...]
    """The best first: of a phrase by score, of a story by fit."""
    nearest: Place | None
    """What came nearest, where nothing was found and there is any sound."""
    num_recordings: int
    """Asked."""
    heard_s: float
    """How long they are together."""


def ask(corpora: Sequence[Corpus], story: Story, spec: AlignmentSpec, options: QueryOptions) -> Answer:
    """Find what ``story`` tells of. The result is exact: every snippet is compared with every phrase.

    Args:
        corpora: what to look through, heard by the alignment of ``spec``.
        story: one phrase, or several.
        spec: the alignment's formulas.
        options: what counts and how much of it is wanted.

    Raises:
        UsageError: the order of one phrase is asked for, or a story's order cannot be followed.
    """
    options.check(story)
    peaks = [
        _Candidate(corpus, recording, peak)
        for corpus in corpora
        for recording, peak in zip(corpus.recordings, _peaks(corpus, story, spec), strict=True)
        if recording.num_snippets
    ]
    peaks.sort(key=lambda one: -one.bound)
    found = _phrase_places if len(story.texts) == 1 else _story_places
    places = found(peaks, story, spec, options)
    nearest = None
    if not places and peaks:
        nearest = found(peaks[:1], story, spec, _undemanding(options))[0]
    return Answer(
        phrases=story.texts,
        places=tuple(places),
        nearest=nearest,
        num_recordings=sum(len(corpus.recordings) for corpus in corpora),
        heard_s=sum(recording.end_s for corpus in corpora for recording in corpus.recordings),
    )


def relevance_curve(corpus: Corpus, recording: Recording, story: Story, spec: AlignmentSpec) -> ScoreCurve:
    """The relevance of every phrase over time, as the curve of a class of words."""
    trace = corpus.trace(recording)
    return _curve(corpus, recording, trace, story.texts, relevance(trace, story.phrases, spec))


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A recording and how relevant it is at most."""

    corpus: Corpus
    recording: Recording
    peaks: Floats
    """Of each phrase, ``(N,)``."""

    @property
    def bound(self) -> float:
        """No place in it has a higher score."""
        return float(self.peaks.mean())


def _peaks(corpus: Corpus, story: Story, spec: AlignmentSpec) -> NDArray[np.float32]:
    """The highest relevance of each phrase in each recording, ``(recordings, N)``; 0 without sound."""
    peaks = np.full((len(corpus.recordings), len(story.phrases)), -np.inf, np.float32)
    for first, last in _blocks(corpus.recordings):
        block = corpus.recordings[first:last]
        begin, end = block[0].first_row, block[-1].rows.stop
        # One more column, so that a recording may end where the block does.
        cosines = np.full((len(story.phrases), end - begin + 1), -np.inf, np.float32)
        np.matmul(story.phrases, corpus.vectors[begin:end].T, out=cosines[:, :-1])
        cosines[:, :-1][:, np.isnan(corpus.salience[begin:end])] = -np.inf
        sounding = [index for index in range(first, last) if corpus.recordings[index].num_snippets]
        borders = [
            border - begin
            for index in sounding
            for border in (corpus.recordings[index].rows.start, corpus.recordings[index].rows.stop)
        ]
        if sounding:
            peaks[sounding] = np.maximum.reduceat(cosines, borders, axis=1)[:, ::2].T
    return probability(peaks, spec)


def _blocks(recordings: Sequence[Recording]) -> Iterator[tuple[int, int]]:
    """Runs of recordings that have about ``_BLOCK_ROWS`` rows together."""
    first = 0
    for index, recording in enumerate(recordings):
        if recording.rows.stop - recordings[first].first_row >= _BLOCK_ROWS or index == len(recordings) - 1:
            yield first, index + 1
            first = index + 1


def _undemanding(options: QueryOptions) -> QueryOptions:
    """Whatever comes nearest."""
    rule = options.rule.model_copy(update={"on": 0.0, "off": 0.0, "min_duration_s": 0.0})
    return QueryOptions(rule=rule, top=1, in_order=False, within_s=options.within_s, at_least=1)


def _phrase_places(
    candidates: Sequence[_Candidate], story: Story, spec: AlignmentSpec, options: QueryOptions
) -> list[Place]:
    """The best places of one phrase; ``candidates`` come by their bound, the highest first."""
    best: list[Place] = []
    for candidate in candidates:
        if candidate.bound < options.rule.on - _ROUNDING:
            break  # nothing opens
        if len(best) == options.top and best[-1].score > candidate.bound + _ROUNDING:
            break  # nothing better can come
        curve = relevance_curve(candidate.corpus, candidate.recording, story, spec)
        events = decide_events(_decisive(curve, options.rule), [options.rule])
        best += [
            Place(
                source=curve.source,
                start_s=event.start_s,
                end_s=event.end_s,
                score=event.confidence,
                peak_s=event.peak_s,
                phrases=(HeardPhrase(story.texts[0], event.confidence, event.peak_s),),
                fit=None,
            )
            for event in events
        ]
        best.sort(key=lambda place: -place.score)
        del best[options.top :]
    return best


def _decisive(curve: ScoreCurve, rule: EventRule) -> ScoreCurve:
    """The snippets of a curve of one class without which its events are the same: most are far from any.

    What is left out lies further than the rule looks from all that could hold an event open. The hole that it leaves
    ends a stretch, which ends nothing that would have gone on.
    """
    if not len(curve.start_s):
        return curve
    hop_s = float(np.median(curve.end_s - curve.start_s))
    reach = rule.smooth_snippets + math.ceil(rule.merge_gap_s / hop_s) + 1
    near = np.convolve(curve.scores[:, 0] >= rule.off, np.ones(2 * reach + 1))[reach:-reach] > 0.5
    return ScoreCurve(
        source=curve.source,
        classes=curve.classes,
        anomaly_classes=curve.anomaly_classes,
        start_s=curve.start_s[near],
        end_s=curve.end_s[near],
        scores=curve.scores[near],
        audio_scores=curve.audio_scores[near],
        visual_scores=curve.visual_scores[near],
        present=curve.present[near],
    )


def _story_places(
    candidates: Sequence[_Candidate], story: Story, spec: AlignmentSpec, options: QueryOptions
) -> list[Place]:
    """The best passages of a story."""
    threshold, needed = options.rule.on, options.needed(len(story.texts))
    places: list[Place] = []
    for candidate in candidates:
        if int((candidate.peaks >= threshold - _ROUNDING).sum()) >= needed:
            places += _passages(candidate, story, spec, options)
    places.sort(key=lambda place: (-(place.fit or 0.0), -place.score))
    return places[: options.top]


def _passages(candidate: _Candidate, story: Story, spec: AlignmentSpec, options: QueryOptions) -> Iterator[Place]:
    """The best passages of a recording."""
    corpus, recording = candidate.corpus, candidate.recording
    trace = corpus.trace(recording)
    curve = _curve(corpus, recording, trace, story.texts, relevance(trace, story.phrases, spec))
    window = max(int(options.within_s / float(corpus.hop) + _ROUNDING), 1)
    chosen = PassageOptions(window, options.needed(len(story.texts)), options.in_order)
    found = passages(curve.scores.T, story.places, options.rule.on, chosen)
    for passage in islice(found, options.top):
        yield _place(curve, passage, story, fit(_around(trace, passage, window), story, spec).fused)


def _around(trace: SoundTrace, passage: Passage, window: int) -> SoundTrace:
    """The stretch of ``window`` snippets with ``passage`` in its middle, as far as the recording allows."""
    length = len(trace.present)
    first = min(max((passage.first + passage.last + 1 - window) // 2, 0), max(length - window, 0))
    part = slice(first, first + window)
    return SoundTrace(trace.vectors[part], trace.salience[part], trace.present[part])


def _place(curve: ScoreCurve, passage: Passage, story: Story, fused: float) -> Place:
    middle_s = (curve.start_s + curve.end_s) / 2
    phrases = tuple(
        HeardPhrase(text, relevance, None if at == NOT_HEARD else float(middle_s[at]))
        for text, at, relevance in zip(story.texts, passage.snippets, passage.relevance, strict=True)
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


def _curve(corpus: Corpus, recording: Recording, trace: SoundTrace, texts: Sequence[str], scores: Floats) -> ScoreCurve:
    """Relevance ``(N, T)`` as the curves of classes of words."""
    times = corpus.times(recording)
    return ScoreCurve(
        source=recording.source,
        classes=tuple(texts),
        anomaly_classes=(True,) * len(texts),
        start_s=times.start_s,
        end_s=times.end_s,
        scores=np.ascontiguousarray(scores.T),
        audio_scores=np.ascontiguousarray(scores.T),
        visual_scores=np.zeros(scores.T.shape, np.float32),
        present=np.column_stack((trace.present, np.zeros_like(trace.present))),
    )
