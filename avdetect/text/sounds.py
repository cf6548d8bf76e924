"""Sounds and what they are called, as a manifest has them and as samples."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import MediaError
from avdetect.media.packets import AudioChunk, StreamPlan
from avdetect.media.source import open_source
from avdetect.timebase import Span

__all__ = ["HeardSound", "LabelledSound", "read_waveform"]


@dataclass(frozen=True, slots=True)
class HeardSound:
    """A sound in a longer recording."""

    span: Span
    text: str
    """A description."""
    label: str | None = None
    """Its class, where it has one: two sounds of a class cannot be told to be different."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSound:
    """A sound on its own."""

    samples: NDArray[np.float32]
    """Mono, ``(samples,)``."""
    text: str
    label: str | None = None


def read_waveform(path: Path, rate_hz: int) -> NDArray[np.float32]:
    """All sound of a file, mono, as the scorer would hear it; a gap is silence.

    Raises:
        MediaError: it cannot be opened, or has no sound.
    """
    plan = StreamPlan(
        hop=Fraction(1),
        cells_per_snippet=1,
        luma_size=(0, 0),
        rgb_size=(0, 0),
        rgb_cells=frozenset(),
        rate_hz=rate_hz,
        want_video=False,
    )
    with open_source(path, plan, decoder_threads=1) as media:
        chunks = [item for item in media.packets() if isinstance(item, AudioChunk)]
    if not chunks:
        raise MediaError(f"{path} has no sound.")
    starts = [round(chunk.time * rate_hz) for chunk in chunks]
    samples = np.zeros(starts[-1] + len(chunks[-1].samples), np.float32)
    for start, chunk in zip(starts, chunks, strict=True):
        samples[max(start, 0) : start + len(chunk.samples)] = chunk.samples[max(-start, 0) :]
    return samples
