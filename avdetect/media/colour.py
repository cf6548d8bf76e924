"""From a picture's components to full-range luma and RGB, by the picture's own colour tags.

Matrices have the codes of ITU-T H.273, which containers, codecs and FFmpeg use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avdetect.media.resample import FRACTION_BITS

__all__ = ["ColourConversion", "rgb_conversions", "yuv_conversions"]

_BT_709, _BT_601 = 1, 6
_RED_AND_BLUE = {
    _BT_709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    _BT_601: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020, constant luminance: not linear, but shown so by players
}
"""Matrix -> the shares of red and blue in luma."""
_HD_WIDTH, _HD_HEIGHT = 1280, 577
"""From here on, either way, pictures without a matrix are taken for BT.709, as players do."""
_GAIN_BITS = 10
_SUM_BITS = FRACTION_BITS + _GAIN_BITS


class ColourConversion:
    """``gains @ (components - zeros)``, rounded to nearest, within 0 .. 255.

    Components have ``FRACTION_BITS`` and gains 10 fractional bits, so that float32 holds every sum exactly.
    """

    def __init__(self, gains: NDArray[np.float64], zeros: NDArray[np.float64]) -> None:
        """Gains are ``(channels, components)``, zeros ``(components,)`` on the scale of 8 bits."""
        gains = np.rint(gains * (1 << _GAIN_BITS)) / (1 << _GAIN_BITS)
        bias = 0.5 - gains @ zeros
        self._gains = (gains / (1 << FRACTION_BITS)).astype(np.float32)
        self._bias = (np.rint(bias[:, None] * (1 << _SUM_BITS)) / (1 << _SUM_BITS)).astype(np.float32)

    @property
    def num_components(self) -> int:
        """How many components it takes: 1, or 3."""
        return int(self._gains.shape[1])

    def __call__(self, components: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Convert ``(components, height, width)``, as resampled, to ``(height, width, channels)``."""
        # Channels stay apart up to the last step: numpy is slow along an axis of three.
        sums = self._gains @ components.reshape(len(components), -1)
        sums += self._bias
        values = np.clip(sums, 0, 255, out=sums).astype(np.uint8)
        return np.ascontiguousarray(values.T).reshape(*components.shape[1:], -1)


def yuv_conversions(
    matrix: int, *, full_range: bool, depth: int, grey: bool, height: int, width: int
) -> tuple[ColourConversion, ColourConversion]:
    """From luma and chroma to luma (from the first component alone) and to RGB.

    Args:
        matrix: what the picture is tagged with; where unspecified or unknown, its size decides.
        full_range: black and white are 0 and 255, not 16 and 235.
        depth: bits per sample, before they were rounded to 8.
        grey: there is no chroma.
        height: of the picture.
        width: of the picture.
    """
    if matrix not in _RED_AND_BLUE:
        matrix = _BT_709 if width >= _HD_WIDTH or height >= _HD_HEIGHT else _BT_601
    red, blue = _RED_AND_BLUE[matrix]
    green = 1 - red - blue
    luma_gain, chroma_gain = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    to_rgb = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    ) * [luma_gain, chroma_gain, chroma_gain]
    zeros = np.array([0 if full_range else 16, 128, 128]) + _rounding_bias(depth)
    used = slice(1 if grey else 3)
    return ColourConversion(np.array([[luma_gain]]), zeros[:1]), ColourConversion(to_rgb[:, used], zeros[used])


def rgb_conversions(depth: int) -> tuple[ColourConversion, ColourConversion]:
    """From red, green and blue, of ``depth`` bits before they were rounded to 8, to luma, as in FFmpeg, and to RGB."""
    red, blue = _RED_AND_BLUE[_BT_601]
    zeros = np.full(3, _rounding_bias(depth))
    return ColourConversion(np.array([[red, 1 - red - blue, blue]]), zeros), ColourConversion(np.eye(3), zeros)


def _rounding_bias(depth: int) -> float:
    """How much rounding to 8 bits, a half upwards, adds on average: an eighth for 10 bits."""
    return 0.5 ** (depth - 7) if depth > 8 else 0.0
