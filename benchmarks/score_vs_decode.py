"""``avdetect score``, the whole process, against ffmpeg only decoding the same file: at most 1.3 is wanted.

python benchmarks/score_vs_decode.py [--seconds 60] [--rounds 7] [FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from support import AVDETECT, hd_video, in_turn, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    file = str(arguments.file or hd_video(arguments.seconds))
    ours = [*AVDETECT, "score", "--json", "--device", "cpu", file]
    theirs = ["ffmpeg", "-v", "error", "-threads", "2", "-i", file, "-f", "null", "-"]
    report(f"score / ffmpeg decode, {file}", *in_turn(ours, theirs, rounds=arguments.rounds))


if __name__ == "__main__":
    main()
