"""Tiny clips of which it is known what moves: something that jumps about, something that glides, nothing."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64
RATE_HZ = 25


def pictures(kind: str, seed: int, num_pictures: int = 25) -> NDArray[np.uint8]:
    """Grey pictures of a scene that the seed decides: ``jump``, ``glide`` or ``still``, ``(pictures, 48, 64)``."""
    rng = np.random.default_rng(seed)
    scene = rng.integers(40, 180, (HEIGHT // 8, WIDTH // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    result = np.repeat(scene[None], num_pictures, axis=0)
    for index in range(num_pictures):
        if kind == "jump":
            row, column = (int(rng.integers(0, limit)) for limit in (HEIGHT - 12, WIDTH - 12))
        elif kind == "glide":
            row, column = 16, (2 * index) % (WIDTH - 12)
        else:
            continue
        result[index, row : row + 12, column : column + 12] = 250
    return result


def write_clip(path: Path, grey: NDArray[np.uint8], *, rate_hz: int = RATE_HZ) -> Path:
    """An H.264 file of the pictures, nearly without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate_hz, options={"crf": "4", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = grey.shape[1], grey.shape[2], "yuv420p"
        for picture in grey:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())
    return path


def write_clips(folder: Path, *, num_places: int = 3) -> Path:
    """At each place a clip of jumping, called ``fight``, a clip of gliding and a still one; the path of the list."""
    rows = []
    for place in range(num_places):
        for number, kind in enumerate(("jump", "glide", "still")):
            name = f"{kind}{place}.mp4"
            write_clip(folder / name, pictures(kind, 10 * place + number))
            rows.append({"file": name, "class": "fight" if kind == "jump" else "normal", "place": f"place{place}"})
    index = folder / "clips.jsonl"
    index.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return index
