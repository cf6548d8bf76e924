"""From a decoded picture's components to full-range luma and RGB, by the picture's own colour tags.

The codes are those of ITU-T H.273, which FFmpeg and the containers use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avdetect.media.resample import FRACTION_BITS

__all__ = ["Conversion", "conversion"]

LUMA_COEFFICIENTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020, constant luminance: close, and what players do
}
"""Matrix code -> the shares of red and blue in luma."""
BT_709, BT_601 = 1, 6
COEFFICIENT_BITS = 13
SHIFT = FRACTION_BITS + COEFFICIENT_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """Integer arithmetic from components with ``FRACTION_BITS`` to 8 bits: ``(matrix @ components + bias) >> SHIFT``."""

    luma: NDArray[np.int32]
    """``(components,)``: full-range luma."""
    luma_bias: int
    rgb: NDArray[np.int32]
    """``(3, components)``."""
    rgb_bias: NDArray[np.int32]
    """``(3,)``."""


@lru_cache(maxsize=64)
def conversion(
    matrix_code: int, full_range: bool, components: int, is_rgb: bool, height: int, width: int
) -> Conversion:
    """The arithmetic for pictures tagged so.

    Args:
        matrix_code: H.273 MatrixCoefficients. Unspecified and unknown ones are taken as players take them: BT.709 for high
            definition, BT.601 below.
        full_range: black and white are 0 and 255, not 16 and 235.
        components: 1 for grey pictures, 3 for others.
        is_rgb: the components are red, green and blue.
        height: of the picture.
        width: of the picture.
    """
    if matrix_code not in LUMA_COEFFICIENTS:
        matrix_code = BT_709 if width >= 1280 or height > 576 else BT_601
    red, blue = LUMA_COEFFICIENTS[BT_601 if is_rgb else matrix_code]
    green = 1 - red - blue
    if is_rgb:
        return _fixed_point(np.array([red, green, blue]), np.eye(3), np.zeros(3))
    luma_gain = 1.0 if full_range else 255 / 219
    chroma_gain = 1.0 if full_range else 255 / 224
    to_rgb = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    ) * [luma_gain, chroma_gain, chroma_gain]
    zero = np.array([0 if full_range else 16, 128, 128])
    return _fixed_point(np.array([luma_gain, 0, 0])[:components], to_rgb[:, :components], zero[:components])


def _fixed_point(
    luma: NDArray[np.float64], rgb: NDArray[np.float64], zero: NDArray[np.float64]
) -> Conversion:
    """``luma`` and ``rgb`` of components minus ``zero``, as integers; the bias rounds to nearest."""
    whole = np.vstack([luma, rgb]) * (1 << COEFFICIENT_BITS)
    matrix = np.rint(whole).astype(np.int32)
    bias = (1 << (SHIFT - 1)) - matrix @ (zero.astype(np.int32) << FRACTION_BITS)
    return Conversion(matrix[0], int(bias[0]), matrix[1:], bias[1:].astype(np.int32))
