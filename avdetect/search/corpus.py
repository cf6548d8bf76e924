"""The traces of many recordings, one after the other in one array: what is asked, on disk or in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avdetect.text.scoring import Floats, SoundTrace

__all__ = ["Corpus", "Recording", "Times", "marked_salience"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A source that was heard, and where its trace lies."""

    source: str
    first_row: int
    num_snippets: int
    """0 where there is no sound."""
    end_s: float
    """When its last snippet ends: the others are as long as the hop."""

    @property
    def rows(self) -> slice:
        """Of the corpus."""
        return slice(self.first_row, self.first_row + self.num_snippets)


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When the snippets of a recording are."""

    start_s: NDArray[np.float64]
    """``(T,)``, seconds from the grid's origin."""
    end_s: NDArray[np.float64]
    """``(T,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Recordings heard by the same alignment."""

    hop: Fraction
    """Seconds between snippets."""
    vectors: Floats
    """``(R, D)``, of unit length; zeros where there is no sound. Rows that no recording has mean nothing."""
    salience: Floats
    """``(R,)``; NaN where there is no sound."""
    recordings: tuple[Recording, ...]
    """In the order of their rows, which do not overlap."""

    @staticmethod
    def of(heard: Iterable[tuple[str, SoundTrace, float]], *, hop: Fraction, joint_dim: int) -> Corpus:
        """In memory: sources, what they left behind, and when they end."""
        recordings: list[Recording] = []
        traces: list[SoundTrace] = []
        first_row = 0
        for source, trace, end_s in heard:
            recordings.append(Recording(source, first_row, len(trace.present), end_s))
            traces.append(trace)
            first_row += len(trace.present)
        vectors = [np.zeros((0, joint_dim), np.float32), *(trace.vectors for trace in traces)]
        salience = [np.zeros(0, np.float32), *map(marked_salience, traces)]
        return Corpus(hop, np.concatenate(vectors), np.concatenate(salience), tuple(recordings))

    def trace(self, recording: Recording) -> SoundTrace:
        """What ``recording`` left behind."""
        salience = np.asarray(self.salience[recording.rows])
        present = ~np.isnan(salience)
        vectors = np.asarray(self.vectors[recording.rows])
        return SoundTrace(vectors, np.where(present, salience, np.float32(0)), present)

    def times(self, recording: Recording) -> Times:
        """When the snippets of ``recording`` are."""
        borders = np.arange(recording.num_snippets + 1, dtype=np.float64) * float(self.hop)
        if recording.num_snippets:
            borders[-1] = recording.end_s
        return Times(borders[:-1], borders[1:])


def marked_salience(trace: SoundTrace) -> Floats:
    """``(T,)``, NaN where there is no sound: one array says both."""
    return np.where(trace.present, trace.salience, np.float32(np.nan))
