"""Separable resampling with integer weights: the sums are exact, so every implementation gives the same bits.

Each output of an axis is a weighted mean of neighbouring inputs with 8-bit weights that sum to 256. A sum over both
axes is at most ``255 * 256 * 256 < 2**24``, an integer that float32 holds exactly whatever the order of summation:
BLAS may add as it likes and still agree with an integer kernel to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRACTION_BITS", "Axis", "Plane", "resample"]

WEIGHT_BITS = 8
FRACTION_BITS = 5
"""Resampled values are 8-bit values with this many fractional bits: 0 .. 255 * 32, as int32."""
DROPPED_BITS = 2 * WEIGHT_BITS - FRACTION_BITS
BLOCK_OUTPUTS = 4
"""Outputs per matrix product. More would multiply by ever more zeros, fewer would make more calls."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One component of a decoded picture, where the decoder left it."""

    samples: NDArray[np.uint8] | NDArray[np.uint16]
    """The whole buffer, ``(at least stride * (height - 1) + step * (width - 1) + 1,)``, from the first sample on."""
    width: int
    height: int
    stride: int
    """Samples from one row to the next."""
    step: int
    """Samples from one column to the next: 2 where two components are interleaved."""
    depth: int
    """Bits per sample, in the low bits: 8 .. 16."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The weights of one axis: output ``i`` is the mean of the inputs from ``first[i]`` on, by ``weights[i]``.

    Shrinking is by area, enlarging is linear interpolation: see :meth:`build`.
    """

    first: NDArray[np.int32]
    """``(outputs,)``."""
    count: NDArray[np.int32]
    """``(outputs,)``: how many inputs from ``first`` on have a weight."""
    weights: NDArray[np.uint16]
    """``(outputs, taps)``, each row sums to 256, zeros after ``count``."""
    size: int
    """Number of inputs."""

    @classmethod
    def build(cls, size: int, outputs: int, *, extent: float, shift: float = 0.0) -> Axis:
        """Weights from ``size`` inputs to ``outputs``.

        The outputs divide ``[0, extent)`` evenly, input ``j`` covers ``[j + shift, j + 1 + shift)``, and what lies
        beyond the inputs is the nearest of them. An output is the mean over a box at its centre that is as wide as the output
        or, where that is narrower than an input, as wide as an input: area averaging when shrinking, linear interpolation
        when enlarging, identity at 1:1.
        """
        pitch = extent / outputs
        width = max(pitch, 1.0)
        start = (np.arange(outputs) + 0.5) * pitch - width / 2 - shift
        covered = np.clip((np.arange(size + 1) - start[:, None]) / width, 0.0, 1.0)
        covered[:, 0], covered[:, -1] = 0.0, 1.0
        # Rounding the running total, not the weights, keeps their sum at 256 and their balance within half a unit.
        dense = np.diff(np.rint(covered * (1 << WEIGHT_BITS)).astype(np.int32), axis=1)
        used = dense > 0
        first = used.argmax(axis=1)
        count = size - used[:, ::-1].argmax(axis=1) - first
        taps = np.arange(count.max())
        weights = np.where(
            taps < count[:, None],
            np.take_along_axis(dense, np.minimum(first[:, None] + taps, size - 1), axis=1),
            0,
        )
        return cls(first.astype(np.int32), count.astype(np.int32), weights.astype(np.uint16), size)

    @cached_property
    def blocks(self) -> list[tuple[slice, slice, NDArray[np.float32]]]:
        """The weights as small dense matrices along the diagonal: outputs, inputs, ``(outputs, inputs)``."""
        blocks = []
        for begin in range(0, len(self.first), BLOCK_OUTPUTS):
            rows = range(begin, min(begin + BLOCK_OUTPUTS, len(self.first)))
            low = int(min(self.first[row] for row in rows))
            high = int(max(self.first[row] + self.count[row] for row in rows))
            block = np.zeros((len(rows), high - low), np.float32)
            for at, row in enumerate(rows):
                inputs = self.first[row] - low
                block[at, inputs : inputs + self.count[row]] = self.weights[row, : self.count[row]]
            blocks.append((slice(rows.start, rows.stop), slice(low, high), block))
        return blocks

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """The weights as one dense matrix, ``(inputs, outputs)``."""
        dense = np.zeros((self.size, len(self.first)), np.float32)
        for rows, inputs, block in self.blocks:
            dense[inputs, rows] = block.T
        return dense


def resample(plane: Plane, rows: Axis, columns: Axis) -> NDArray[np.int32]:
    """``plane`` at the size of the axes, with ``FRACTION_BITS`` fractional bits, ``(len(rows), len(columns))``."""
    samples = np.lib.stride_tricks.as_strided(
        plane.samples,
        (plane.height, plane.width),
        (plane.stride * plane.samples.itemsize, plane.step * plane.samples.itemsize),
        writeable=False,
    )
    tall = np.empty((len(rows.first), plane.width), np.float32)
    for outputs, inputs, weights in rows.blocks:
        np.matmul(weights, _eight_bits(samples[inputs], plane.depth).astype(np.float32), out=tall[outputs])
    sums = (tall @ columns.matrix).astype(np.int32)
    return (sums + (1 << (DROPPED_BITS - 1))) >> DROPPED_BITS


def _eight_bits(samples: NDArray[np.generic], depth: int) -> NDArray[np.generic]:
    """``samples`` of ``depth`` bits rounded to 8 bits."""
    if depth == 8:
        return samples
    dropped = depth - 8
    return np.minimum((samples.astype(np.int32) + (1 << (dropped - 1))) >> dropped, 255)
