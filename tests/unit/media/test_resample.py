from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.media import kernels
from avdetect.media.resample import FRACTION_BITS, Axis, Plane, resample

SIZES = st.integers(1, 70)


@st.composite
def planes(draw: st.DrawFn) -> Plane:
    """Of any size, depth, stride and content, with the extremes likely; what is beyond the rows is noise."""
    height, width, step = draw(SIZES), draw(SIZES), draw(st.sampled_from((1, 2)))
    depth = draw(st.sampled_from((8, 9, 10, 12, 14, 16)))
    stride = width * step + draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = draw(st.sampled_from(((0, 1 << depth), ((1 << depth) - 1, 1 << depth), (0, 1))))
    samples = rng.integers(low, high, height * stride).astype(np.uint8 if depth == 8 else np.uint16)
    return Plane(samples, height, width, stride, step, depth)


def small(plane: Plane, rows: Axis, columns: Axis, how: object = resample) -> np.ndarray:
    out = np.full((len(rows.first), len(columns.first)), -1, np.float32)
    how(plane, rows, columns, out)  # type: ignore[operator]
    return out


def obvious(plane: Plane, rows: Axis, columns: Axis) -> np.ndarray:
    """The definition, in Python's integers."""
    picture = [
        [int(plane.samples[y * plane.stride + x * plane.step]) for x in range(plane.width)] for y in range(plane.height)
    ]
    dropped = plane.depth - 8
    eight = [[min((v + ((1 << dropped) >> 1)) >> dropped, 255) for v in row] for row in picture]
    out = np.empty((len(rows.first), len(columns.first)), np.int64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = sum(
                int(rows.weights[i, a]) * int(columns.weights[j, b]) * eight[rows.first[i] + a][columns.first[j] + b]
                for a in range(rows.count[i])
                for b in range(columns.count[j])
            )
            out[i, j] = (total + 2048) >> 12
    return out


@settings(max_examples=150, deadline=None)
@given(plane=planes(), height=SIZES, width=SIZES, shift=st.sampled_from((0.0, -0.25, -0.375)))
def test_numpy_and_the_compiled_kernel_agree_to_the_last_bit(
    plane: Plane, height: int, width: int, shift: float
) -> None:
    rows = Axis.build(plane.height, height, extent=plane.height)
    columns = Axis.build(plane.width, width, extent=plane.width - 0.5 * (plane.width % 2), shift=shift)
    np.testing.assert_array_equal(
        small(plane, rows, columns), small(plane, rows, columns, kernels.resample), strict=True
    )


@settings(max_examples=20, deadline=None)
@given(plane=planes(), height=st.integers(1, 5), width=st.integers(1, 5))
def test_the_definition_is_met(plane: Plane, height: int, width: int) -> None:
    rows = Axis.build(plane.height, height, extent=plane.height)
    columns = Axis.build(plane.width, width, extent=plane.width)
    np.testing.assert_array_equal(small(plane, rows, columns), obvious(plane, rows, columns))


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (1080, 1920), (2160, 3840)])
def test_large_planes_agree_too(height: int, width: int) -> None:
    samples = np.random.default_rng(1).integers(0, 256, height * width, dtype=np.uint8)
    plane = Plane(samples, height, width, width, 1, 8)
    for size in ((60, 80), (160, 160)):
        rows, columns = Axis.build(height, size[0], extent=height), Axis.build(width, size[1], extent=width)
        np.testing.assert_array_equal(small(plane, rows, columns), small(plane, rows, columns, kernels.resample))


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 3000), outputs=st.integers(1, 200), shift=st.floats(-0.5, 0.5))
def test_weights_sum_to_256_and_stay_within_the_inputs(size: int, outputs: int, shift: float) -> None:
    axis = Axis.build(size, outputs, extent=size, shift=shift)
    assert (axis.weights.sum(axis=1) == 256).all()
    assert (axis.first >= 0).all()
    assert (axis.first + axis.count <= size).all()
    assert (np.diff(axis.first) >= 0).all()


def test_the_same_size_is_the_same_picture() -> None:
    samples = np.arange(200, dtype=np.uint8)
    axes = Axis.build(10, 10, extent=10), Axis.build(20, 20, extent=20)
    out = small(Plane(samples, 10, 20, 20, 1, 8), *axes)
    np.testing.assert_array_equal(out / (1 << FRACTION_BITS), samples.reshape(10, 20))


def test_a_ramp_stays_a_ramp_when_shrunk_and_enlarged() -> None:
    samples = (np.arange(64, dtype=np.uint8) * 2).repeat(1)
    plane = Plane(samples, 1, 64, 64, 1, 8)
    for outputs in (16, 64, 256):
        centres = (np.arange(outputs) + 0.5) * 64 / outputs - 0.5
        values = small(plane, Axis.build(1, 1, extent=1), Axis.build(64, outputs, extent=64))[0] / (1 << FRACTION_BITS)
        inside = slice(outputs // 16, -(outputs // 16))
        np.testing.assert_allclose(values[inside], (centres * 2)[inside], atol=0.1)
