"""The traces of many recordings, one after the other in one array: what is asked, on disk or in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import AlignmentSpec
from avdetect.text.scoring import Floats, SoundTrace, probability


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Recordings heard by the same alignment, M of them."""

    hop: Fraction
    """Seconds between snippets."""
    vectors: Floats
    """``(R, D)``, of unit length; zeros where there is no sound. Rows that no recording has mean nothing."""
    salience: Floats
    """``(R,)``; NaN where there is no sound."""
    sources: Sequence[str]
    """The M names of the recordings."""
    first_rows: NDArray[np.int64]
    """``(M,)``, ascending."""
    num_snippets: NDArray[np.int64]
    """``(M,)``; 0 where there is no sound. The rows of recordings do not overlap."""
    ends_s: NDArray[np.float64]
    """Ends of their last snippets, ``(M,)``; all other snippets are as long as the hop."""

    @staticmethod
    def of(heard: Iterable[tuple[str, SoundTrace, float]], *, hop: Fraction, joint_dim: int) -> Corpus:
        """Build a corpus in memory from sources, their traces and their ends."""
        sources, traces, ends_s = [], [], []
        for source, trace, end_s in heard:
            sources.append(source)
            traces.append(trace)
            ends_s.append(end_s)
        vectors = [np.zeros((0, joint_dim), np.float32), *(trace.vectors for trace in traces)]
        salience = [np.zeros(0, np.float32), *map(marked_salience, traces)]
        num_snippets = np.array([len(trace.present) for trace in traces], np.int64)
        return Corpus(
            hop=hop,
            vectors=np.concatenate(vectors),
            salience=np.concatenate(salience),
            sources=sources,
            first_rows=np.cumsum(num_snippets) - num_snippets,
            num_snippets=num_snippets,
            ends_s=np.array(ends_s, np.float64),
        )

    def chosen(self, names: Mapping[int, str]) -> Corpus:
        """Some of the recordings, by number, under these names."""
        numbers = np.array(sorted(names), np.int64)
        return replace(
            self,
            sources=[names[number] for number in numbers.tolist()],
            first_rows=self.first_rows[numbers],
            num_snippets=self.num_snippets[numbers],
            ends_s=self.ends_s[numbers],
        )

    def trace(self, recording: int) -> SoundTrace:
        """Return the trace of one of the recordings."""
        first = int(self.first_rows[recording])
        rows = slice(first, first + int(self.num_snippets[recording]))
        salience = np.asarray(self.salience[rows])
        present = ~np.isnan(salience)
        return SoundTrace(np.asarray(self.vectors[rows]), np.where(present, salience, np.float32(0)), present)

    def times_s(self, recording: int) -> NDArray[np.float64]:
        """Return the starts of a recording's snippets and the end of the last one, ``(T + 1,)``, from its origin."""
        borders = np.arange(self.num_snippets[recording] + 1, dtype=np.float64) * float(self.hop)
        if len(borders) > 1:
            borders[-1] = self.ends_s[recording]
        return borders


def marked_salience(trace: SoundTrace) -> Floats:
    """``(T,)``, NaN where there is no sound: one array says both."""
    return np.where(trace.present, trace.salience, np.float32(np.nan))


_BLOCK_ROWS = 1 << 16
"""Number of snippets that are compared at once; a longer recording is compared as a whole."""


def peaks(corpus: Corpus, phrases: Floats, spec: AlignmentSpec) -> Floats:
    """The highest relevance of each phrase ``(N, D)`` in each recording, ``(M, N)``; 0 without sound."""
    highest = np.full((len(phrases), len(corpus.sources)), -np.inf, np.float32)
    ends = corpus.first_rows + corpus.num_snippets
    for block in _blocks(ends):
        sounding = block[corpus.num_snippets[block] > 0]
        if not sounding.size:
            continue
        begin, end = int(corpus.first_rows[sounding[0]]), int(ends[sounding[-1]])
        # One more column, so that a recording may end where the block does.
        cosines = np.full((len(phrases), end - begin + 1), -np.inf, np.float32)
        np.matmul(phrases, corpus.vectors[begin:end].T, out=cosines[:, :-1])
        cosines[:, np.flatnonzero(np.isnan(corpus.salience[begin:end]))] = -np.inf
        borders = np.column_stack((corpus.first_rows[sounding], ends[sounding])).ravel() - begin
        highest[:, sounding] = np.maximum.reduceat(cosines, borders, axis=1)[:, ::2]
    return probability(highest.T, spec)


def _blocks(ends: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Runs of recordings, given the rows at which they end, of about ``_BLOCK_ROWS`` rows together."""
    yield from np.split(np.arange(len(ends)), np.flatnonzero(np.diff(ends // _BLOCK_ROWS)) + 1)
