"""The streaming detector for one snippet, in onnxruntime against eager torch: at least 3 is wanted.

python benchmarks/detector_step.py [--rounds 2000]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import onnxruntime
import torch

from avdetect.models.two_stream import TwoStreamConfig, TwoStreamNet
from avdetect_export.network_graph import INPUTS, StreamingDetector, export_streaming

CONFIG = TwoStreamConfig(
    audio_dim=1024,
    visual_dim=1340,
    num_classes=7,
    left_context_snippets=30,
    lookahead_snippets=3,
    position_range_snippets=16,
    smoothing_range_snippets=1,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = TwoStreamNet(CONFIG).eval()
    detector = StreamingDetector(network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export_streaming(network), options, providers=["CPUExecutionProvider"])
    for snippets in (1, 32):
        inputs = (
            torch.randn(1, snippets, CONFIG.audio_dim),
            torch.randn(1, snippets, CONFIG.visual_dim),
            torch.ones(1, snippets, 2, dtype=torch.bool),
            *network.initial_state(1).values(),
        )
        named = {name: one.numpy() for name, one in zip((*INPUTS, *detector.states), inputs, strict=True)}

        def ours(named: dict[str, object] = named) -> None:
            session.run(None, named)

        def theirs(inputs: tuple[torch.Tensor, ...] = inputs) -> None:
            with torch.inference_mode():
                detector(*inputs)

        pairs = in_turn(ours, theirs, rounds // snippets + 50)
        ratio = statistics.median(b / a for a, b in pairs)
        wall_us = [statistics.median(column) / snippets * 1e6 for column in zip(*pairs, strict=True)]
        print(f"T={snippets}: torch / onnxruntime {ratio:.2f}; {wall_us[1]:.0f} and {wall_us[0]:.0f} us per snippet")


def in_turn(ours: Callable[[], None], theirs: Callable[[], None], rounds: int) -> list[tuple[float, float]]:
    for _ in range(20):
        ours()
        theirs()
    return [(timed(ours), timed(theirs)) for _ in range(rounds)]


def timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
