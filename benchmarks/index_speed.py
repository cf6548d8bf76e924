"""``avdetect index`` against ``avdetect score`` of the same file, whole processes: at most 1.2 is wanted.

Indexing decodes no pictures, so it should take far less.

python benchmarks/index_speed.py [--seconds 3600] [--rounds 1] [FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from support import AVDETECT, hd_video, in_turn, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    file = str(arguments.file or hd_video(arguments.seconds))
    with tempfile.TemporaryDirectory() as folder:
        index = [*AVDETECT, "index", file, "-o", f"{folder}/index", "--fresh", "--device", "cpu"]
        score = [*AVDETECT, "score", file, "--json", "--device", "cpu"]
        report(f"index / score, {file}", *in_turn(index, score, rounds=arguments.rounds))


if __name__ == "__main__":
    main()
