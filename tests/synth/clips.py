"""Short clips to compose scenes of."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def write_clip(path: Path, *, lively: bool, brightness: int, seed: int) -> None:
    """Two seconds of 64x48: a square that jumps about, or one that stands."""
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        top, left = 16, 24
        for _ in range(50):
            if lively:
                top, left = int(random.integers(0, 32)), int(random.integers(0, 48))
            picture = np.full((48, 64, 3), brightness, np.uint8)
            picture[top : top + 16, left : left + 16] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
