"""Decoded pictures -> small luma and RGB pictures, straight from the decoder's planes.

Each component is resampled from its own plane to the wanted size, then the colours are converted, by the picture's own
matrix and range, at that size only.
"""

from __future__ import annotations

import re

import av
import numpy as np
from av.video.frame import VideoFrame as DecodedFrame
from numpy.typing import NDArray

from avdetect.errors import MediaError
from avdetect.media.colour import SHIFT, Conversion, conversion
from avdetect.media.resample import Axis, Plane, resample

__all__ = ["PictureMaker"]

PLANAR = re.compile(r"(gray|yuva?j?4[0-4][0-4]p|gbra?p)((9|10|12|14|16)le)?")
"""Formats with a plane per component and samples in the low bits."""
SEMI_PLANAR = re.compile(r"nv(12|21|16|24|42)")
"""Formats with the two chroma components interleaved in one plane."""
FULL_RANGE = 2
"""FFmpeg's AVCOL_RANGE_JPEG."""
UNSPECIFIED_RANGE = 0


class PictureMaker:
    """Makes small pictures of decoded frames, whose size, format and colour tags may change at any time.

    Not for several threads at once.
    """

    def __init__(
        self, luma_size: tuple[int, int], rgb_size: tuple[int, int], *, compiled: bool | None = None
    ) -> None:
        """Sizes are ``(height, width)``.

        Args:
            luma_size: of the pictures of :meth:`luma`.
            rgb_size: of the pictures of :meth:`rgb`.
            compiled: use the compiled kernel from the start or never; ``None``: when there is enough work for it.
        """
        self._luma_size = luma_size
        self._rgb_size = rgb_size
        self._axes: dict[tuple[int, int, float, float], Axis] = {}

    def luma(self, frame: DecodedFrame, rotation: int) -> NDArray[np.uint8]:
        """Full-range luma, ``(height, width)``.

        Args:
            frame: as decoded.
            rotation: degrees clockwise, a multiple of 90, by which a player turns the picture.
        """
        frame = _readable(frame)
        planes, colours = _planes(frame), _conversion(frame)
        if not frame.format.is_rgb:
            planes = planes[:1]
        small = self._components(frame, planes, _before_rotation(self._luma_size, rotation))
        weights = colours.luma[: len(planes)]
        total = sum(component * weight for component, weight in zip(small, weights, strict=True))
        picture = np.clip((total + colours.luma_bias) >> SHIFT, 0, 255).astype(np.uint8)
        return _rotated(picture, rotation)

    def rgb(self, frame: DecodedFrame, rotation: int) -> NDArray[np.uint8]:
        """RGB, ``(height, width, 3)``; arguments as for :meth:`luma`."""
        frame = _readable(frame)
        colours = _conversion(frame)
        small = self._components(frame, _planes(frame), _before_rotation(self._rgb_size, rotation))
        picture = np.empty((*small[0].shape, 3), np.uint8)
        for channel in range(3):
            total = sum(
                component * weight for component, weight in zip(small, colours.rgb[channel], strict=True)
            )
            picture[..., channel] = np.clip((total + colours.rgb_bias[channel]) >> SHIFT, 0, 255)
        return _rotated(picture, rotation)

    def _components(
        self, frame: DecodedFrame, planes: list[Plane], size: tuple[int, int]
    ) -> list[NDArray[np.int32]]:
        """Every plane at ``size``."""
        return [
            resample(
                plane,
                self._axis(
                    plane.height, size[0], frame.height / _subsampling(frame.height, plane.height), 0.0
                ),
                self._axis(
                    plane.width,
                    size[1],
                    frame.width / _subsampling(frame.width, plane.width),
                    _chroma_shift(frame, _subsampling(frame.width, plane.width)),
                ),
            )
            for plane in planes
        ]

    def _axis(self, size: int, outputs: int, extent: float, shift: float) -> Axis:
        key = (size, outputs, extent, shift)
        if key not in self._axes:
            self._axes[key] = Axis.build(size, outputs, extent=extent, shift=shift)
        return self._axes[key]


def _readable(frame: DecodedFrame) -> DecodedFrame:
    """``frame`` itself, or a copy in a format that :func:`_planes` knows, with the same colours; alpha is dropped."""
    name = frame.format.name
    known = PLANAR.fullmatch(name) or SEMI_PLANAR.fullmatch(name)
    if known and all(plane.line_size > 0 for plane in frame.planes):
        return frame
    if frame.format.is_rgb or frame.format.has_palette or name.startswith("xyz"):
        target = "gbrp"
    elif all(component.is_luma or component.is_alpha for component in frame.format.components):
        target = "gray"
    else:
        target = "yuv444p"
    try:
        return frame.reformat(format=target)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"cannot convert pictures of format {name}: {error}") from error


def _planes(frame: DecodedFrame) -> list[Plane]:
    """The components of a readable frame, alpha apart: luma and chroma, or red, green and blue."""
    interleaved = SEMI_PLANAR.fullmatch(frame.format.name) is not None
    chroma_offsets = (1, 0) if frame.format.name in ("nv21", "nv42") else (0, 1)
    planes = []
    for at, component in enumerate(frame.format.components):
        if component.is_alpha:
            continue
        buffer = frame.planes[component.plane]
        dtype: type[np.uint8 | np.uint16] = np.uint8 if component.bits == 8 else np.uint16
        samples = np.frombuffer(buffer, dtype)  # type: ignore[arg-type]  # a plane is a buffer
        chroma_pair = interleaved and at > 0
        planes.append(
            Plane(
                samples[chroma_offsets[at - 1] :] if chroma_pair else samples,
                component.width,
                component.height,
                buffer.line_size // samples.itemsize,
                2 if chroma_pair else 1,
                component.bits,
            )
        )
    return planes


def _conversion(frame: DecodedFrame) -> Conversion:
    components = sum(not component.is_alpha for component in frame.format.components)
    return conversion(
        int(frame.colorspace),
        _is_full_range(frame),
        components,
        frame.format.is_rgb,
        frame.height,
        frame.width,
    )


def _is_full_range(frame: DecodedFrame) -> bool:
    """By the tag; where there is none, grey is full and YUV limited, as FFmpeg has it."""
    name = frame.format.name
    if "j" in name:
        return True
    if frame.color_range == UNSPECIFIED_RANGE:
        return name.startswith("gray")
    return int(frame.color_range) == FULL_RANGE


def _subsampling(luma: int, chroma: int) -> int:
    """How many luma samples there are to a chroma sample along an axis."""
    return -(-luma // chroma) if chroma else 1


def _chroma_shift(frame: DecodedFrame, subsampling: int) -> float:
    """Where chroma samples sit: with the left luma sample in video (MPEG-2 on), in the middle in JPEG."""
    return 0.0 if _is_full_range(frame) else 0.5 / subsampling - 0.5


def _before_rotation(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    return (size[1], size[0]) if rotation % 180 else size


def _rotated(picture: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    """``picture`` turned clockwise."""
    return np.ascontiguousarray(np.rot90(picture, -rotation // 90)) if rotation % 360 else picture
