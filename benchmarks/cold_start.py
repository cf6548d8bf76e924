"""What a short job pays before it begins: at most 2 is wanted of both ratios.

python benchmarks/cold_start.py [--rounds 11]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from support import AVDETECT, DEMO, ffmpeg, in_turn, media_folder, report

BUNDLE = Path(__file__).parent.parent / "avdetect" / "assets" / "default"
OPEN_SESSIONS = f"""
import pathlib, av, numpy, onnxruntime
for name in ("audio", "detector", "motion", "visual"):
    onnxruntime.InferenceSession(pathlib.Path({str(BUNDLE)!r}, name + ".onnx"), providers=["CPUExecutionProvider"])
"""
"""Without the bundle's words: nothing is asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    report(
        "--help / import numpy", *in_turn([*AVDETECT, "--help"], [sys.executable, "-c", "import numpy"], rounds=rounds)
    )
    clip = media_folder() / "ten-seconds.mp4"
    if not clip.exists():
        ffmpeg("-stream_loop", "-1", "-i", str(DEMO), "-t", "10", "-c", "copy", target=clip)
    score = [*AVDETECT, "score", "--json", "--device", "cpu", str(clip)]
    report("score 10 s / imports and sessions", *in_turn(score, [sys.executable, "-c", OPEN_SESSIONS], rounds=rounds))


if __name__ == "__main__":
    main()
