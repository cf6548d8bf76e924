"""A small picture of one moment, from compressed packets."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avdetect.media.planes import UPRIGHT, Orientation

__all__ = ["thumbnail"]

MAX_WIDTH = 640
_QUALITY = 5
"""Of FFmpeg's 2 (best) to 31."""


def thumbnail(
    packets: Iterable[Packet[Any]], stream: VideoStream, time_s: float, *, orientation: Orientation = UPRIGHT
) -> bytes | None:
    """The picture on show at ``time_s`` as a JPEG, at most ``MAX_WIDTH`` wide and upright.

    Args:
        packets: of ``stream``, in order of decoding, from a key frame on.
        stream: whose codec parameters to use.
        time_s: on the packets' own clock; the first picture is taken where all are later.
        orientation: how a player turns the picture.

    Returns:
        The file's content; ``None`` where there was no picture.
    """
    shown = _picture_at(packets, stream, time_s)
    if shown is None:
        return None
    width = min(MAX_WIDTH, shown.width) // 2 * 2
    height = max(2, round(shown.height * width / shown.width) // 2 * 2)
    small = shown.reformat(width, height, format="rgb24").to_ndarray()
    upright = orientation.applied(np.asarray(small, np.uint8))
    picture = VideoFrame.from_ndarray(upright, format="rgb24").reformat(format="yuvj420p")
    encoder = CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1)
    encoder.options = {"qscale": str(_QUALITY)}
    picture.pts = None
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def _picture_at(packets: Iterable[Packet[Any]], stream: VideoStream, time_s: float) -> VideoFrame | None:
    """The last picture at or before ``time_s``, or else the first one."""
    template = stream.codec_context
    decoder = CodecContext.create(template.codec.name, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = template.extradata
    decoder.thread_count = 1
    shown: VideoFrame | None = None
    for packet in [*packets, None]:
        frames: list[VideoFrame] = []
        with suppress(FFmpegError):  # a damaged packet costs a picture, not the thumbnail
            frames = decoder.decode(packet)
        for frame in frames:
            is_late = frame.pts is not None and frame.time_base is not None and frame.pts * frame.time_base > time_s
            if is_late:
                return shown or frame
            shown = frame
    return shown
