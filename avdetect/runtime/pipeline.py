"""Media -> embeddings -> scores -> events: START READING HERE.

    open_embeddings       decode, snippets, encoders: see ``avdetect.features.encoding``  (threads "decode", "encode")
    StreamingScorer       the bundle's detector graph, with its state; or OfflineScorer   (the caller's thread)
    PromptedScorer        around it, where a class is told in words: the alignment's graph
    EventSegmenter        hysteresis, durations, gaps

One pass, bounded queues in between, so memory does not grow with the length of the source; only the scores that
``score`` gives back do (about 100 bytes a snippet). But a detector of the offline form needs all embeddings at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from avdetect.errors import BundleError, UsageError
from avdetect.events.curve import CurveBuilder, ScoreCurve
from avdetect.events.event import Event, SnippetScore
from avdetect.events.rules import RuleOverrides
from avdetect.events.segmenter import EventSegmenter
from avdetect.features.encoding import EncodingOptions, Progress, open_embeddings
from avdetect.manifest import EventRule
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.runtime.batch import BatchListener, FailedSource, in_order, watched
from avdetect.runtime.bundle import Bundle
from avdetect.runtime.scorer import scorer_for
from avdetect.stage import through


@dataclass(frozen=True, slots=True)
class ScoreStats:
    """The cost of scoring."""

    elapsed_s: float
    """Wall-clock time from opening the source to its last event."""
    media_s: float
    """Media time that was scored."""
    num_snippets: int
    providers: tuple[str, ...]
    """The execution providers that ran the graphs, the preferred one first."""

    @property
    def speed(self) -> float:
        """Speed as a multiple of real time."""
        return self.media_s / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ScoreResult:
    """Scores, events and everything the user should know of one source."""

    source: str
    media: MediaInfo
    curve: ScoreCurve
    events: tuple[Event, ...]
    """The events, in the order of their start."""
    notes: tuple[MediaNote, ...]
    """Warnings: damage, gaps, missing streams."""
    stats: ScoreStats


Rules = RuleOverrides | Sequence[EventRule | None] | None

_MAX_DECODER_THREADS = 16
"""More gain little, and each holds pictures."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """Options for scoring one source."""

    audio_track: int | None = None
    """The sound track to hear, counted from 0; ``None`` for the one that a player would choose."""
    start_s: float = 0.0
    """The beginning, in seconds from the start of the source."""
    duration_s: float | None = None
    """The length of the part to score; ``None`` for all."""
    decoder_threads: int = 0
    """Number of threads that decode pictures; 0 for three per processor."""
    batch_snippets: int = 4
    """Number of snippets that the encoders take at once. It has no effect on the scores."""

    def __post_init__(self) -> None:
        if not self.start_s >= 0:
            raise UsageError(f"start must not be negative, got {self.start_s:g} s.")
        if self.duration_s is not None and not self.duration_s > 0:
            raise UsageError(f"duration must be above zero, got {self.duration_s:g} s.")
        if self.decoder_threads < 0:
            raise UsageError(f"decoder_threads must not be negative, got {self.decoder_threads}.")
        if self.batch_snippets < 1:
            raise UsageError(f"batch_snippets must be at least 1, got {self.batch_snippets}.")

    def encoding(self, bundle: Bundle) -> EncodingOptions:
        """Return the options for encoding with ``bundle``."""
        return EncodingOptions(
            audio_track=self.audio_track,
            start_s=self.start_s,
            duration_s=self.duration_s,
            decoder_threads=self.decoder_threads or min(3 * (os.cpu_count() or 1), _MAX_DECODER_THREADS),
            batch_snippets=self.batch_snippets,
            fixed_batch=not bundle.provider.is_cpu,
        )


class ScoreStream(Iterator[SnippetScore]):
    """The scores of one source, snippet by snippet, as they become known: with the offline form, at its end.

    Decoding and encoding run ahead in threads of their own. Close it, or use it as a context manager, when it is left
    before its end.
    """

    def __init__(
        self,
        source: str | Path,
        bundle: Bundle,
        options: ScoreOptions,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if not bundle.manifest.has_encoders:
            raise BundleError(
                f"{bundle.path} has no encoders: it scores features that were made elsewhere, not videos. Use "
                "avdetect.score_features, or `avdetect evaluate` with a list of features."
            )
        self.bundle = bundle
        self._embeddings = open_embeddings(
            source, bundle.manifest, bundle.encoders, options.encoding(bundle), on_progress=on_progress
        )
        self._scores = through(self._embeddings, scorer_for(bundle))

    @property
    def media(self) -> MediaInfo:
        """The container's own description."""
        return self._embeddings.info

    @property
    def notes(self) -> tuple[MediaNote, ...]:
        """Notes for the user that have been found so far."""
        return (*(MediaNote("provider", text) for text in self.bundle.notes), *self._embeddings.notes)

    def __next__(self) -> SnippetScore:
        return next(self._scores)

    def close(self) -> None:
        """End the threads and close the source."""
        self._embeddings.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stream(source: str | Path, *, bundle: Bundle | None = None, options: ScoreOptions = ScoreOptions()) -> ScoreStream:
    """Score ``source`` snippet by snippet.

    Args:
        source: a file, a URL of one, a FIFO, or ``-`` for standard input.
        bundle: ``None`` for the embedded default, on the device ``auto``.
        options: what part of the source to score.

    Raises:
        MediaError: the source cannot be opened; while iterating, that nothing of it could be decoded.
        BundleError: the bundle cannot be used.
    """
    return ScoreStream(source, Bundle.load() if bundle is None else bundle, options)


def score(
    source: str | Path,
    *,
    bundle: Bundle | None = None,
    options: ScoreOptions = ScoreOptions(),
    rules: Rules = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_score: Callable[[SnippetScore], None] | None = None,
) -> ScoreResult:
    """Find the events of ``source``.

    Args:
        source: a file, a URL of one, a FIFO, or ``-`` for standard input.
        bundle: ``None`` for the embedded default, on the device ``auto``.
        options: what part of the source to score.
        rules: how scores become events: what to change of the bundle's own rules; or one rule per class, ``None`` for a
            class whose events are not wanted; ``None`` for the bundle's own.
        on_progress: called a few times a second.
        on_score: called with the score of every snippet, in order.

    Raises:
        MediaError: the source cannot be opened, or nothing of it could be decoded.
        BundleError: the bundle cannot be used.
        UsageError: there are not as many rules as classes, or the options ask for what the source does not have.
    """
    started = time.monotonic()
    with ScoreStream(source, Bundle.load() if bundle is None else bundle, options, on_progress=on_progress) as scores:
        manifest = scores.bundle.manifest
        names = manifest.class_names
        segmenter = EventSegmenter(names, _chosen(rules, scores.bundle), manifest.hop_s)
        events: list[Event] = []
        curve = CurveBuilder(str(source), names, [spec.anomaly for spec in manifest.classes])
        for row in scores:
            curve.add(row)
            events.extend(segmenter.push(row))
            if on_score is not None:
                on_score(row)
        events.extend(segmenter.flush())
        scored = curve.build()
        stats = ScoreStats(
            elapsed_s=time.monotonic() - started,
            media_s=float((scored.end_s - scored.start_s).sum()),
            num_snippets=len(curve),
            providers=scores.bundle.providers,
        )
        return ScoreResult(
            source=str(source),
            media=scores.media,
            curve=scored,
            events=tuple(sorted(events, key=lambda event: (event.start_s, event.class_name))),
            notes=scores.notes,
            stats=stats,
        )


def score_many(
    sources: Sequence[str | Path],
    *,
    bundle: Bundle | None = None,
    options: ScoreOptions = ScoreOptions(),
    rules: Rules = None,
    jobs: int = 1,
    listener: BatchListener | None = None,
) -> Iterator[ScoreResult | FailedSource]:
    """Find the events of many sources; one that cannot be scored does not stop the others.

    Args:
        sources: files, URLs of files, FIFOs; ``find_sources`` makes them of folders and patterns.
        bundle: as for ``score``.
        options: as for ``score``.
        rules: as for ``score``.
        jobs: how many sources at once.
        listener: told how they get on.

    Yields:
        What became of each source, in their order, as soon as it and all before it are done.

    Raises:
        UsageError: there are not as many rules as classes.
    """
    loaded = Bundle.load() if bundle is None else bundle
    told = listener or BatchListener()
    if jobs > 1 and not options.decoder_threads:
        options = replace(options, decoder_threads=max((os.cpu_count() or 1) // jobs, 1))
    chosen = _chosen(rules, loaded)
    cancel = threading.Event()

    def work(source: str, tell: Callable[[Progress], None]) -> ScoreResult | FailedSource:
        return score(source, bundle=loaded, options=options, rules=chosen, on_progress=tell)

    names = [str(source) for source in sources]
    told.begin(names)
    yield from in_order(names, watched(work, told, cancel), FailedSource, jobs=jobs, cancel=cancel)


def _chosen(rules: Rules, bundle: Bundle) -> Sequence[EventRule | None]:
    """One rule for each class."""
    names = bundle.manifest.class_names
    if rules is None:
        return [spec.rule for spec in bundle.manifest.classes]
    if isinstance(rules, RuleOverrides):
        return rules.rules(names, bundle.manifest)
    if len(rules) != len(names):
        raise UsageError(f"{len(rules)} rules were given for the {len(names)} classes of {bundle.name}.")
    return rules
