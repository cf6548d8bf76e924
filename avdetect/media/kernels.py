"""Resampling as compiled integer loops, with the results of :mod:`avdetect.media.resample` to the last bit.

Importing this module imports numba, then compiles the kernel or loads it from numba's cache: half a second or more.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types, uint16, uint32
from numpy.typing import NDArray

from avdetect.media.resample import RESAMPLE_SHIFT, Axis, Plane

__all__ = ["resample"]


def _array(dtype: types.Type, dimensions: int, *, readonly: bool = True) -> types.Array:
    return types.Array(dtype, dimensions, "C", readonly=readonly)


_AXIS = (_array(types.int32, 1), _array(types.int32, 1), _array(types.uint16, 2))
_SIGNATURES = [
    types.void(_array(samples, 1), *[types.intp] * 4, *_AXIS, *_AXIS, _array(types.float32, 2, readonly=False))
    for samples in (types.uint8, types.uint16)
]


def resample(plane: Plane, rows: Axis, columns: Axis, out: NDArray[np.float32]) -> None:
    """See :data:`avdetect.media.resample.Resample`."""
    _resample(
        plane.samples,
        plane.width,
        plane.stride,
        plane.step,
        plane.depth - 8,
        rows.first,
        rows.count,
        rows.weights,
        columns.first,
        columns.count,
        columns.weights,
        out,
    )


@njit(_SIGNATURES, nogil=True, cache=True, error_model="numpy")
def _resample(  # type: ignore[no-untyped-def]
    samples,
    width,
    stride,
    step,
    dropped,
    first_row,
    num_rows,
    row_weights,
    first_column,
    num_columns,
    column_weights,
    out,
):
    half = uint16((1 << dropped) >> 1)
    greatest = uint16((256 << dropped) - half - 1)
    shift = uint16(dropped)
    length = (width - 1) * step + 1
    # Sums of one output row: at most 255 * 256, so 16 bits are enough and the loops over a row fill vector registers.
    tall = np.empty(length, np.uint16)
    for row in range(out.shape[0]):
        tall[:] = 0
        for tap in range(num_rows[row]):
            begin = (first_row[row] + tap) * stride
            line = samples[begin : begin + length]
            weight = row_weights[row, tap]
            if dropped == 0:
                for at in range(length):
                    tall[at] = uint16(tall[at] + uint16(weight * line[at]))
            else:
                for at in range(length):
                    value = uint16(line[at])
                    value = greatest if value > greatest else value
                    value = uint16(uint16(value + half) >> shift)
                    tall[at] = uint16(tall[at] + uint16(weight * value))
        if step != 1:
            for at in range(width):
                tall[at] = tall[at * step]
        for column in range(out.shape[1]):
            begin, taps = first_column[column], num_columns[column]
            # Slices tell the compiler that the inner loop runs over adjacent values.
            values = tall[begin : begin + taps]
            weights = column_weights[column, :taps]
            total = uint32(1 << (RESAMPLE_SHIFT - 1))
            for tap in range(taps):
                total += uint32(values[tap]) * uint32(weights[tap])
            out[row, column] = total >> uint32(RESAMPLE_SHIFT)
