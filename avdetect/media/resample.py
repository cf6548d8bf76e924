"""Separable resampling in integers, with numpy.

Each output of an axis is a mean of neighbouring inputs with 8-bit weights that sum to 256. A sum over both axes is at
most ``255 * 256 * 256 < 2**24``, an integer that float32 holds exactly whatever the order of summation: BLAS may add as
it likes and still agree to the last bit with the integers of :mod:`avdetect.media.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRACTION_BITS", "RESAMPLE_SHIFT", "Axis", "Plane", "Resample", "resample"]

WEIGHT_BITS = 8
FRACTION_BITS = 4
"""Resampled values are 8-bit values with this many fractional bits, as whole numbers: ``0 .. 255 * 16``."""
RESAMPLE_SHIFT = 2 * WEIGHT_BITS - FRACTION_BITS

_BLOCK_OUTPUTS = 8
_BLAS_SERIAL_PRODUCT = 1 << 18
"""Multiplications from which on OpenBLAS starts threads, which then wait for the decoder's (measured: 50 ms)."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One component of a decoded picture, where the decoder left it."""

    samples: NDArray[np.uint8] | NDArray[np.uint16]
    """The buffer from the component's first sample on, one-dimensional."""
    height: int
    width: int
    stride: int
    """Samples from one row to the next."""
    step: int
    """Samples from one column to the next: 2 where two components are interleaved."""
    depth: int
    """Bits per sample, in the low bits: 8 .. 16."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The weights of an axis: output ``i`` is a mean of ``count[i]`` inputs from ``first[i]`` on, by ``weights[i]``."""

    size: int
    """Number of inputs."""
    first: NDArray[np.int32]
    """``(outputs,)``."""
    count: NDArray[np.int32]
    """``(outputs,)``."""
    weights: NDArray[np.uint16]
    """``(outputs, taps)``; each row sums to 256 and is zero from ``count`` on."""

    @classmethod
    def build(cls, size: int, outputs: int, *, extent: float, shift: float = 0.0) -> Axis:
        """Weights from ``size`` inputs to ``outputs``.

        The outputs divide ``[0, extent)`` evenly, input ``j`` covers ``[j + shift, j + 1 + shift)``, and what lies
        beyond the inputs is like the nearest of them. An output is the mean over a box at its centre, as wide as the
        output but no narrower than an input: area averaging when shrinking, linear interpolation when enlarging,
        identity at 1:1.
        """
        pitch = extent / outputs
        width = max(pitch, 1.0)
        start = (np.arange(outputs) + 0.5) * pitch - width / 2 - shift
        covered = np.clip((np.arange(size + 1) - start[:, None]) / width, 0.0, 1.0)
        covered[:, 0], covered[:, -1] = 0.0, 1.0
        # Rounding the running total, not the weights, keeps their sum at 256 and each half within half a unit.
        dense = np.diff(np.rint(covered * (1 << WEIGHT_BITS)).astype(np.int32), axis=1)
        used = dense > 0
        first = used.argmax(axis=1)
        count = size - used[:, ::-1].argmax(axis=1) - first
        taps = first[:, None] + np.arange(count.max())
        weights = np.take_along_axis(np.pad(dense, ((0, 0), (0, taps.shape[1]))), taps, axis=1)
        return cls(size, first.astype(np.int32), count.astype(np.int32), weights.astype(np.uint16))

    @cached_property
    def blocks(self) -> list[tuple[slice, slice, NDArray[np.float32]]]:
        """The weights as small dense matrices along the diagonal: outputs, inputs, ``(outputs, inputs)``."""
        dense = np.zeros((len(self.first), self.size), np.float32)
        for row, (first, count) in enumerate(zip(self.first, self.count, strict=True)):
            dense[row, first : first + count] = self.weights[row, :count]
        blocks = []
        for begin in range(0, len(dense), _BLOCK_OUTPUTS):
            outputs = slice(begin, min(begin + _BLOCK_OUTPUTS, len(dense)))
            inputs = slice(int(self.first[outputs].min()), int((self.first + self.count)[outputs].max()))
            blocks.append((outputs, inputs, np.ascontiguousarray(dense[outputs, inputs])))
        return blocks


Resample = Callable[[Plane, Axis, Axis, NDArray[np.float32]], None]
"""``(plane, rows, columns, out)``: writes the resampled plane to ``out``, ``(outputs of rows, of columns)``."""


def resample(plane: Plane, rows: Axis, columns: Axis, out: NDArray[np.float32]) -> None:
    """See :data:`Resample`."""
    itemsize = plane.samples.itemsize
    samples = np.lib.stride_tricks.as_strided(
        plane.samples, (plane.height, plane.width), (plane.stride * itemsize, plane.step * itemsize), writeable=False
    )
    tall = np.empty((len(rows.first), plane.width), np.float32)
    for outputs, inputs, weights in rows.blocks:
        block = _to_eight_bits(samples[inputs], plane.depth).astype(np.float32)
        if weights.size * plane.width <= _BLAS_SERIAL_PRODUCT:
            np.matmul(weights, block, out=tall[outputs])
        else:
            for row in range(outputs.start, outputs.stop):
                first, count = rows.first[row] - inputs.start, rows.count[row]
                taps = weights[row - outputs.start, first : first + count]
                np.matmul(taps, block[first : first + count], out=tall[row])
    for outputs, inputs, weights in columns.blocks:
        np.matmul(tall[:, inputs], weights.T, out=out[:, outputs])
    out += 1 << (RESAMPLE_SHIFT - 1)
    out *= 0.5**RESAMPLE_SHIFT
    np.floor(out, out=out)


def _to_eight_bits(samples: NDArray[Any], depth: int) -> NDArray[Any]:
    """``samples`` of ``depth`` bits rounded to 8."""
    if depth == 8:
        return samples
    dropped = depth - 8
    half = 1 << (dropped - 1)
    # The greatest value that still rounds to 255; the sum with ``half`` fits into 16 bits.
    greatest = (256 << dropped) - half - 1
    rounded: NDArray[Any] = (np.minimum(samples, np.uint16(greatest)) + np.uint16(half)) >> np.uint16(dropped)
    return rounded
