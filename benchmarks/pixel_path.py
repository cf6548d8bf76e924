"""Decoded pictures to small ones: the compiled kernel, numpy, and FFmpeg's swscale (AREA), in turn on the same frames.

python benchmarks/pixel_path.py [--rounds 60] [--format yuv420p]

Prints the median milliseconds of processor time per picture with colour conversion and all, swscale's ratio to ours,
what loading the kernel costs a process, and from how many pictures on it pays.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from avdetect.media.planes import PictureMaker

SIZES = ((240, 320), (720, 1280), (1080, 1920))
LUMA_SIZE, RGB_SIZE = (60, 80), (160, 160)
NUM_FRAMES = 8
"""In a ring, so that none is in the processor's nearest cache from the time before."""
LOAD_RUNS = 5
LOAD = """
import time, avdetect.media.planes
began = time.process_time()
import avdetect.media.kernels
print(time.process_time() - began)
"""


def noisy_frames(height: int, width: int, pixel_format: str) -> list[VideoFrame]:
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(NUM_FRAMES):
        coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        frame = VideoFrame.from_ndarray(coarse.repeat(8, axis=0).repeat(8, axis=1), format="rgb24")
        frames.append(frame.reformat(format=pixel_format, dst_colorspace="ITU709"))
    return frames


def median_ms(ways: Sequence[Callable[[VideoFrame], object]], frames: Sequence[VideoFrame], rounds: int) -> list[float]:
    """Each way once per round on a frame of its own: a machine that slows down slows all."""
    times: list[list[float]] = [[] for _ in ways]
    for round_ in range(rounds + NUM_FRAMES):
        for at, way in enumerate(ways):
            frame = frames[(round_ + at) % len(frames)]
            began = time.process_time()
            way(frame)
            times[at].append(time.process_time() - began)
    return [statistics.median(some[NUM_FRAMES:]) * 1e3 for some in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--format", default="yuv420p")
    options = parser.parse_args()
    kernel = PictureMaker(LUMA_SIZE, RGB_SIZE, compiled=True)
    plain = PictureMaker(LUMA_SIZE, RGB_SIZE, compiled=False)
    # One each, as they are remade for every other geometry.
    to_luma, to_rgb = VideoReformatter(), VideoReformatter()

    def swscale_luma(frame: VideoFrame) -> object:
        small = to_luma.reformat(
            frame, LUMA_SIZE[1], LUMA_SIZE[0], "gray", interpolation=Interpolation.AREA, dst_color_range=ColorRange.JPEG
        )
        return small.to_ndarray()

    def swscale_rgb(frame: VideoFrame) -> object:
        small = to_rgb.reformat(frame, RGB_SIZE[1], RGB_SIZE[0], "rgb24", interpolation=Interpolation.AREA)
        return small.to_ndarray()

    loads = [subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True) for _ in range(LOAD_RUNS)]
    load_ms = statistics.median(float(load.stdout) for load in loads) * 1e3
    print(f"loading numba and the compiled kernel: {load_ms:.0f} ms")
    print("picture           source      kernel    numpy  swscale   swscale/kernel  swscale/numpy  kernel pays from")
    for height, width in SIZES:
        frames = noisy_frames(height, width, options.format)
        for what, ways in (
            (
                f"luma {LUMA_SIZE[1]}x{LUMA_SIZE[0]}",
                (lambda f: kernel.luma(f), lambda f: plain.luma(f), swscale_luma),
            ),
            (f"rgb {RGB_SIZE[1]}x{RGB_SIZE[0]}", (lambda f: kernel.rgb(f), lambda f: plain.rgb(f), swscale_rgb)),
        ):
            ours, numpy, swscale = median_ms(ways, frames, options.rounds)
            print(
                f"{what:<16}  {width:>4}x{height:<4}  {ours:7.3f}  {numpy:7.3f}  {swscale:7.3f}  {swscale / ours:15.2f}"
                f"  {swscale / numpy:13.2f}  {load_ms / (numpy - ours):8.0f} pictures"
            )


if __name__ == "__main__":
    main()
