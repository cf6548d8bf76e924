"""``avdetect.score`` against the obvious pipeline on the same file: at least 5 times faster is wanted.

The obvious pipeline: PyAV turns every frame into RGB, torch makes every frame small for motion energy, resizes the
frame that the appearance encoder looks at, and runs the same encoder networks op by op (eager), one snippet at a time.
It is spared the detector and the events. Both sides run every encoder, also the one that the default's detector leaves
out. Models are loaded before the clock starts, on both sides.

    python benchmarks/score_vs_obvious.py [--seconds 60] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import torch
from av.audio.resampler import AudioResampler
from onnx import numpy_helper
from support import hd_video
from torch import Tensor
from torch.nn import functional

import avdetect
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest

MANIFEST = read_manifest(default_bundle_path())


def conv(
    x: Tensor, weight: Tensor, bias: Tensor, *, strides: list[int], pads: list[int], group: int, **_: Any
) -> Tensor:
    top, left, bottom, right = pads
    return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, bias, strides, groups=group)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "Cast": lambda x, to: x.float(),
    "Clip": torch.clamp,
    "Conv": conv,
    "Flatten": lambda x, axis: x.flatten(axis),
    "Gather": lambda x, index, axis: x[:, index],
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda x: x,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(*perm),
    "Unsqueeze": lambda x, axes: x.unsqueeze(int(axes)),
}


class EagerGraph:
    """An encoder of the bundle, run op by op with torch."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self.values = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer
        }
        self.input = graph.input[0].name
        self.steps = [
            (
                OPERATORS[node.op_type],
                list(node.input),
                node.output[0],
                {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute},
            )
            for node in graph.node
        ]

    def __call__(self, given: Tensor) -> Tensor:
        """The embeddings of a batch."""
        values = {**self.values, self.input: given}
        for operator, names, output, attributes in self.steps:
            values[output] = operator(*(values[name] for name in names), **attributes)
        return values["embedding"]


def read_sound(path: Path, rate_hz: int) -> Tensor:
    """The whole sound track, as most scripts do it."""
    resampler = AudioResampler("flt", "mono", rate_hz)
    with av.open(path) as container:
        chunks = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return torch.from_numpy(np.concatenate(chunks))


@torch.inference_mode()
def obvious(path: Path, visual: EagerGraph, audio: EagerGraph) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Embeddings of every snippet: appearance, sound, motion energy."""
    assert MANIFEST.visual is not None
    assert MANIFEST.audio is not None
    assert MANIFEST.motion is not None
    hop_s, rate_hz, window = MANIFEST.hop_s, MANIFEST.audio.rate_hz, MANIFEST.audio.window_samples
    size = (MANIFEST.visual.height, MANIFEST.visual.width)
    small = (MANIFEST.motion.height, MANIFEST.motion.width)
    sound = functional.pad(read_sound(path, rate_hz), (window, 0))
    snippets = []
    frames: list[Tensor] = []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            while frame.time is not None and frames and frame.time >= (len(snippets) + 1) * hop_s:
                luma = torch.stack(
                    [functional.interpolate(f.mean(1, keepdim=True), small, mode="area") for f in frames]
                )
                middle = functional.interpolate(frames[len(frames) // 2], size, mode="bilinear", antialias=True)
                end = window + int((len(snippets) + 1) * hop_s * rate_hz)
                heard = functional.pad(sound[end - window : end], (0, max(0, end - sound.numel())))
                snippets.append(
                    (visual(middle.byte().permute(0, 2, 3, 1)), audio(heard[None]), luma.diff(dim=0).abs().mean())
                )
                frames.clear()
            rgb = torch.from_numpy(frame.to_ndarray(format="rgb24"))
            frames.append(rgb.permute(2, 0, 1)[None].float())
    return snippets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    file = hd_video(arguments.seconds)
    folder = default_bundle_path()
    assert MANIFEST.visual is not None
    assert MANIFEST.audio is not None
    visual, audio = EagerGraph(folder / MANIFEST.visual.graph), EagerGraph(folder / MANIFEST.audio.graph)
    bundle = avdetect.Bundle.load(device="cpu", all_encoders=True)
    avdetect.score(file, bundle=bundle)  # warms the page cache and compiles the kernels
    ratios = []
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        result = avdetect.score(file, bundle=bundle)
        ours_s = time.perf_counter() - started
        snippets = obvious(file, visual, audio)
        theirs_s = time.perf_counter() - started - ours_s
        ratios.append(theirs_s / ours_s)
        print(f"ours {ours_s:.2f} s ({result.stats.num_snippets} snippets), obvious {theirs_s:.2f} s ({len(snippets)})")
    print(f"median: {statistics.median(ratios):.1f} times faster")


if __name__ == "__main__":
    main()
