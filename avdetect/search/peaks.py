"""How relevant each recording of a corpus is at most: every snippet is compared with every phrase, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import AlignmentSpec
from avdetect.search.corpus import Corpus
from avdetect.text.scoring import Floats, probability

__all__ = ["peaks"]

_BLOCK_ROWS = 1 << 16
"""How many snippets are compared at once; a longer recording, all of it."""


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
