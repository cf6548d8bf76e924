"""Media -> snippets -> embeddings: the way of every file, whatever is made of its embeddings afterwards.

    source.packets()      decode; one small picture per cell, sound at the model's rate   (thread "decode")
    SnippetAssembler      both streams on the snippet grid
    SnippetEncoder        the bundle's encoder graphs, in batches                         (thread "encode")

Scoring, indexing and training all read their embeddings here. Live feeds go through the same stages, but the first two
run in a process of their own and the encoders serve many feeds at once (``avdetect.serve``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.features.encoders import EncoderSessions, SnippetEmbedding, SnippetEncoder
from avdetect.manifest import Manifest
from avdetect.media.packets import AudioChunk, MediaInfo, MediaNote
from avdetect.media.source import MediaSource, open_source
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import stream_plan
from avdetect.stage import Ahead, through
from avdetect.timebase import as_seconds

_PROGRESS_INTERVAL_S = 0.1
_SAMPLES_PER_CHUNK_S = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of reading a source."""

    done_s: float
    """Media time encoded so far."""
    total_s: float | None
    """Media time to encode; ``None`` where the container does not say."""
    elapsed_s: float
    """Wall-clock time since the source was opened."""


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """The part of a source to encode, and the resources to use."""

    audio_track: int | None = None
    """The sound track to hear, counted from 0; ``None`` for the one that a player would choose."""
    start_s: float = 0.0
    """The beginning, in seconds from the start of the source."""
    duration_s: float | None = None
    """The length of the part; ``None`` for all."""
    decoder_threads: int = 1
    """Number of threads that decode pictures."""
    batch_snippets: int = 8
    """Number of snippets that the encoders take at once. It has no effect on the embeddings."""
    fixed_batch: bool = False
    """Fill the last batch up with zeros, so that a GPU sees one shape only."""
    snippets_ahead: int = 16
    """Number of snippets that may wait between two threads. One takes about 0.2 MB, or 64 kB without pictures."""

    def __post_init__(self) -> None:
        if not self.start_s >= 0:
            raise UsageError(f"start must not be negative, got {self.start_s:g} s.")
        if self.duration_s is not None and not self.duration_s > 0:
            raise UsageError(f"duration must be above zero, got {self.duration_s:g} s.")
        if self.batch_snippets < 1:
            raise UsageError(f"batch_snippets must be at least 1, got {self.batch_snippets}.")


class EmbeddingStream(Iterator[SnippetEmbedding]):
    """The embeddings of one source, snippet by snippet, made ahead of the consumer in two threads.

    Close it, or use it as a context manager, when it is left before its end.

    Args:
        media: the source; it is closed with the stream.
        manifest: says what a snippet is.
        sessions: the encoder graphs. Without those of the picture, no picture is waited for.
        options: which part, and at what cost.
        on_progress: called a few times a second; what it raises ends the stream.
    """

    def __init__(
        self,
        media: MediaSource,
        manifest: Manifest,
        sessions: EncoderSessions,
        options: EncodingOptions,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        with ExitStack() as opened:
            self._media = opened.enter_context(media)
            self._assembler = SnippetAssembler(
                manifest,
                first_index=int(as_seconds(options.start_s) / manifest.hop),
                has_video=media.info.video_codec is not None and sessions.sees,
                has_audio=media.info.audio_codec is not None,
            )
            packets = through(media.packets(), self._assembler)
            snippets = opened.enter_context(Ahead(packets, max_items=options.snippets_ahead, name="decode"))
            encoder = SnippetEncoder(
                manifest, sessions, batch_snippets=options.batch_snippets, fixed_batch=options.fixed_batch
            )
            self._embeddings = opened.enter_context(
                Ahead(through(snippets, encoder), max_items=options.snippets_ahead, name="encode")
            )
            self._report = None if on_progress is None else _Reporter(on_progress, media.info, options)
            self._opened = opened.pop_all()

    @property
    def info(self) -> MediaInfo:
        """The container's own description."""
        return self._media.info

    @property
    def notes(self) -> tuple[MediaNote, ...]:
        """Notes for the user that have been found so far."""
        return (*self._media.notes, *self._assembler.notes)

    def __next__(self) -> SnippetEmbedding:
        embedding = next(self._embeddings)
        if self._report is not None:
            self._report(embedding)
        return embedding

    def close(self) -> None:
        """End the threads and close the source."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_embeddings(
    source: str | Path,
    manifest: Manifest,
    sessions: EncoderSessions,
    options: EncodingOptions = EncodingOptions(),
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> EmbeddingStream:
    """Open a file and encode it, in one pass and bounded memory.

    Pictures are decoded only where ``sessions`` look at them. The grid is that of the whole manifest either way, so a
    recording ends at the same time for those that only listen.

    Args:
        source: a file, a URL of one, a FIFO, or ``-`` for standard input.
        manifest: of the bundle.
        sessions: its encoder graphs.
        options: which part, and at what cost.
        on_progress: called a few times a second.

    Raises:
        MediaError: the source cannot be opened; while iterating, that nothing of it could be decoded.
        UsageError: the options ask for what the source does not have.
    """
    plan = stream_plan(manifest)
    media = open_source(
        source,
        replace(plan, want_video=plan.want_video and sessions.sees),
        audio_track=options.audio_track,
        start_s=options.start_s,
        duration_s=options.duration_s,
        decoder_threads=options.decoder_threads,
    )
    return EmbeddingStream(media, manifest, sessions, options, on_progress=on_progress)


class Samples:
    """A source of sound that is in memory already, mono at the rate of the manifest's audio encoder.

    Args:
        samples: float32 within [-1, 1], ``(samples,)``.
        rate_hz: their rate.
    """

    def __init__(self, samples: NDArray[np.float32], rate_hz: int) -> None:
        self._samples = samples
        self._rate_hz = rate_hz
        self.info = MediaInfo("", duration_s=len(samples) / rate_hz, audio_codec="pcm_f32le", audio_rate_hz=rate_hz)
        self.notes: list[MediaNote] = []

    def packets(self) -> Iterator[AudioChunk]:
        """The samples, a second at a time."""
        step = _SAMPLES_PER_CHUNK_S * self._rate_hz
        for start in range(0, len(self._samples), step):
            yield AudioChunk(Fraction(start, self._rate_hz), self._samples[start : start + step])

    def close(self) -> None:
        """Do nothing: no file is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Reporter:
    """Reports by what has been encoded: in the offline form there are no scores until the end."""

    def __init__(self, on_progress: Callable[[Progress], None], info: MediaInfo, options: EncodingOptions) -> None:
        self._on_progress = on_progress
        self._start_s = options.start_s
        self._total_s = _expected_s(info, options)
        self._started = self._reported = time.monotonic()

    def __call__(self, item: SnippetEmbedding) -> None:
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_INTERVAL_S:
            self._reported = now
            self._on_progress(Progress(item.span.end_s - self._start_s, self._total_s, now - self._started))


def _expected_s(info: MediaInfo, options: EncodingOptions) -> float | None:
    """Return how many seconds there are to encode, as far as the container tells."""
    if info.duration_s is None:
        return options.duration_s
    rest_s = max(info.duration_s - options.start_s, 0.0)
    return rest_s if options.duration_s is None else min(rest_s, options.duration_s)
