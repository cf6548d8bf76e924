"""Decoded pictures -> small luma and RGB pictures, straight from the decoder's planes.

Each component is resampled from its own plane to the wanted size; colours are converted there, by the picture's own
matrix and range.

``benchmarks/pixel_path.py`` compares the ways to do it. For luma, eight pictures in nine, the compiled kernel is the
fastest, FFmpeg's swscale comes next and numpy last; for RGB swscale is ahead of the kernel. A snippet of 1280x720 costs
2.0 ms with the kernel, 3.4 ms with swscale, 7.1 ms with numpy. But numba takes half a second and more to load, in which
numpy makes a thousand pictures. So numpy begins, and the kernel takes over in long runs. Their results are equal to
the last bit, which swscale's would not be.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
import time
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame as DecodedFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from avdetect.errors import MediaError
from avdetect.media.colour import ColourConversion, rgb_conversions, yuv_conversions
from avdetect.media.resample import Axis, Plane, Resample, resample

__all__ = ["UPRIGHT", "Orientation", "PictureMaker", "orientation_of"]

_PLANAR = re.compile(r"(gray|yuva?j?4[0-4][0-4]p|gbra?p)((9|10|12|14|16)le)?")
"""Formats with a plane per component and the samples in the low bits of their 8 or 16."""
_SEMI_PLANAR = re.compile(r"nv(12|21|16|24|42)")
"""Formats with the chroma components interleaved in one plane."""
_FULL_RANGE = 2
"""FFmpeg's AVCOL_RANGE_JPEG."""
_UNSPECIFIED_RANGE = 0
_MAX_RECIPES = 16
"""Kinds of pictures remembered; one source has one or two, whatever more there are is damage."""
_LOADING_S = 0.8
"""Processor time to load numba and the kernel from its cache. Where it is not known how many pictures there will be,
the kernel is loaded once numpy has worked as long: at worst twice the time of the better choice is spent."""
_KERNEL_SHARE = 0.3
"""Of numpy's time that the kernel takes (benchmarks/pixel_path.py)."""
_TIMED_PICTURES = 16
"""After as many it is known what one costs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a player turns a decoded picture, and then mirrors it: one of eight ways."""

    rotation: int = 0
    """Degrees clockwise, a multiple of 90."""
    mirrored: bool = False
    """Whether left and right change places after that."""

    @property
    def is_transposed(self) -> bool:
        """Whether rows become columns."""
        return self.rotation % 180 != 0

    def applied(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture, ``(height, width, channels)``, as it is shown."""
        if self.rotation % 360:
            picture = np.rot90(picture, -(self.rotation // 90))
        return np.ascontiguousarray(picture[:, ::-1] if self.mirrored else picture)


def orientation_of(frame: DecodedFrame) -> Orientation:
    """By the frame's display matrix, whose rotation alone does not tell a mirrored picture from another."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know all that FFmpeg puts beside a frame
        return Orientation(-round(frame.rotation / 90) * 90 % 360)
    return _orientation(bytes(matrix)) if isinstance(matrix, Buffer) else UPRIGHT


@lru_cache(maxsize=16)
def _orientation(matrix: bytes) -> Orientation:
    """Of an FFmpeg display matrix: ``x' = a * x + c * y`` and ``y' = b * x + d * y``, y downwards, in 16.16."""
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        leftwards, upwards, rotation = a < 0, d < 0, 180 if d < 0 else 0
        return Orientation(rotation, mirrored=leftwards != upwards)
    leftwards, upwards, rotation = c < 0, b < 0, 270 if b < 0 else 90
    return Orientation(rotation, mirrored=leftwards == upwards)


UPRIGHT = Orientation()


@dataclass(frozen=True, slots=True, eq=False)
class _Component:
    """Where a component lies in a frame, and the weights to resample it."""

    plane: int
    offset: int
    """Samples from the beginning of the plane."""
    step: int
    height: int
    width: int
    depth: int
    rows: Axis
    columns: Axis

    def of(self, planes: tuple[VideoPlane, ...]) -> Plane:
        """The component in the planes of a frame."""
        buffer = planes[self.plane]
        dtype = np.uint8 if self.depth == 8 else np.uint16
        # A plane has the buffer protocol; its type stub does not say so.
        samples = np.frombuffer(buffer, dtype)[self.offset :]  # type: ignore[call-overload]
        stride = buffer.line_size // samples.itemsize
        return Plane(samples, self.height, self.width, stride, self.step, self.depth)


@dataclass(frozen=True, slots=True, eq=False)
class _Recipe:
    """How to make a small picture of frames of one kind."""

    size: tuple[int, int]
    """Before the picture is turned upright."""
    components: tuple[_Component, ...]
    conversion: ColourConversion


class PictureMaker:
    """Makes small upright pictures of decoded frames, whose size, format and colour tags may change at any time.

    Not for several threads at once.
    """

    def __init__(
        self,
        luma_size: tuple[int, int],
        rgb_size: tuple[int, int],
        *,
        compiled: bool | None = None,
        expected_pictures: int | None = None,
    ) -> None:
        """Sizes are ``(height, width)``; a picture of size ``(0, 0)`` costs nothing.

        Args:
            luma_size: of the pictures of :meth:`luma`.
            rgb_size: of the pictures of :meth:`rgb`.
            compiled: use the compiled kernel from the start, or never; ``None``: where there is enough work for it.
            expected_pictures: how many there will be in all, where that is known.
        """
        self._luma_size = luma_size
        self._rgb_size = rgb_size
        self._recipes: dict[tuple[object, ...], _Recipe] = {}
        self._resample: Resample = resample
        self._expected_pictures = expected_pictures
        self._is_undecided = compiled is None
        self._num_timed = 0
        self._spent_s = 0.0
        if compiled:
            self._resample = _compiled_resample()

    def luma(self, frame: DecodedFrame, orientation: Orientation = UPRIGHT) -> NDArray[np.uint8]:
        """Full-range luma, ``(height, width)``.

        Args:
            frame: as decoded. Alpha is ignored, interlaced fields stay woven.
            orientation: how a player turns the frame.

        Raises:
            MediaError: The pixel format cannot be read.
        """
        return self._picture(frame, orientation, rgb=False)[..., 0]

    def rgb(self, frame: DecodedFrame, orientation: Orientation = UPRIGHT) -> NDArray[np.uint8]:
        """RGB, ``(height, width, 3)``; arguments and errors as for :meth:`luma`."""
        return self._picture(frame, orientation, rgb=True)

    def _picture(self, frame: DecodedFrame, orientation: Orientation, *, rgb: bool) -> NDArray[np.uint8]:
        size = self._rgb_size if rgb else self._luma_size
        if 0 in size:
            return np.zeros((*size, 3 if rgb else 1), np.uint8)
        frame = _readable(frame)
        recipe = self._recipe(frame, size[::-1] if orientation.is_transposed else size, rgb)
        components = np.empty((len(recipe.components), *recipe.size), np.float32)
        planes = frame.planes
        began = time.thread_time() if self._is_undecided else 0.0
        for component, out in zip(recipe.components, components, strict=True):
            self._resample(component.of(planes), component.rows, component.columns, out)
        if self._is_undecided:
            self._decide(time.thread_time() - began)
        picture = recipe.conversion(components)
        return picture if orientation == UPRIGHT else orientation.applied(picture)

    def _recipe(self, frame: DecodedFrame, size: tuple[int, int], rgb: bool) -> _Recipe:
        key = (frame.format.name, frame.height, frame.width, frame.colorspace, frame.color_range, size, rgb)
        recipe = self._recipes.get(key)
        if recipe is None:
            if len(self._recipes) >= _MAX_RECIPES:
                self._recipes.clear()
            recipe = self._recipes[key] = _recipe(frame, size, rgb=rgb)
        return recipe

    def _decide(self, seconds: float) -> None:
        """Load the compiled kernel, in the background, if there is enough work to come."""
        self._num_timed += 1
        self._spent_s += seconds
        if self._expected_pictures is None:
            worth_it = self._spent_s >= _LOADING_S
            self._is_undecided = not worth_it
        elif self._num_timed >= _TIMED_PICTURES:
            to_come_s = self._spent_s / self._num_timed * (self._expected_pictures - self._num_timed)
            worth_it = to_come_s * (1 - _KERNEL_SHARE) > _LOADING_S
            self._is_undecided = False
        else:
            worth_it = False
        if worth_it:
            threading.Thread(target=self._switch, name="avdetect-kernels").start()

    def _switch(self) -> None:
        try:
            self._resample = _compiled_resample()
        except Exception:  # Whatever keeps numba from working, the pictures are the same without it.
            _log.warning("The compiled pixel kernel cannot be loaded; going on with numpy.", exc_info=True)


def _compiled_resample() -> Resample:
    from avdetect.media import kernels

    return kernels.resample


def _readable(frame: DecodedFrame) -> DecodedFrame:
    """``frame`` where its planes can be read as they are, or else the same picture in a format where they can."""
    name = frame.format.name
    if (_PLANAR.fullmatch(name) or _SEMI_PLANAR.fullmatch(name)) and all(p.line_size > 0 for p in frame.planes):
        return frame
    if frame.format.is_rgb or frame.format.has_palette or name.startswith("xyz"):
        target = "gbrp"
    elif len(frame.format.components) >= 3:
        target = "yuv444p"
    else:
        target = "gray"
    if name == target:  # Stored bottom-up: another depth makes swscale copy it.
        target += "10le"
    try:
        if name.startswith("yaf"):  # On the direct way swscale aborts the process.
            frame = frame.reformat(format="grayf32le")
        return frame.reformat(format=target)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"pictures of the pixel format {name} cannot be read: {error}.") from error


def _recipe(frame: DecodedFrame, size: tuple[int, int], *, rgb: bool) -> _Recipe:
    """How to make luma or RGB of ``size`` from frames like ``frame``."""
    pixel_format = frame.format
    full_range = _is_full_range(frame)
    depth = pixel_format.components[0].bits
    if pixel_format.is_rgb:
        to_luma, to_rgb = rgb_conversions(depth)
    else:
        to_luma, to_rgb = yuv_conversions(
            frame.colorspace,
            full_range=full_range,
            depth=depth,
            grey=pixel_format.name.startswith("gray"),
            height=frame.height,
            width=frame.width,
        )
    conversion = to_rgb if rgb else to_luma
    components = []
    for at, component in enumerate(pixel_format.components[: conversion.num_components]):
        is_chroma = at > 0 and not pixel_format.is_rgb
        # How many luma samples there are to a sample of this component, along each axis.
        tall = 4 // pixel_format.chroma_height(4) if is_chroma else 1
        wide = 4 // pixel_format.chroma_width(4) if is_chroma else 1
        # Chroma sits in the middle of its luma samples, but in video on the column of the left one.
        shift = 0.0 if full_range else 0.5 / wide - 0.5
        interleaved = is_chroma and _SEMI_PLANAR.fullmatch(pixel_format.name) is not None
        second = (at == 2) != (pixel_format.name in ("nv21", "nv42"))
        components.append(
            _Component(
                component.plane,
                1 if interleaved and second else 0,
                2 if interleaved else 1,
                component.height,
                component.width,
                depth,
                Axis.build(component.height, size[0], extent=frame.height / tall),
                Axis.build(component.width, size[1], extent=frame.width / wide, shift=shift),
            )
        )
    return _Recipe(size, tuple(components), conversion)


def _is_full_range(frame: DecodedFrame) -> bool:
    """By the tag; without one grey is full and YUV is limited, as FFmpeg has it."""
    if "j" in frame.format.name:
        return True
    if frame.color_range == _UNSPECIFIED_RANGE:
        return frame.format.name.startswith("gray")
    return int(frame.color_range) == _FULL_RANGE
