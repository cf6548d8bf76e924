"""What the scripts here share: test media made by ffmpeg, and whole processes timed in turn."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEMO = Path(__file__).parent.parent / "avdetect" / "assets" / "demo.mp4"
AVDETECT = [sys.executable, "-m", "avdetect_cli"]


def media_folder() -> Path:
    """Where test media are kept between runs."""
    folder = Path(tempfile.gettempdir()) / "avdetect-benchmarks"
    folder.mkdir(exist_ok=True)
    return folder


def hd_video(duration_s: int) -> Path:
    """A 1280x720 25 fps H.264+AAC file: the demo clip enlarged, with a little grain, repeated to ``duration_s``.

    x264's defaults, so B frames and their pyramid as in most files; the repetition copies packets.
    """
    base = media_folder() / "hd-60.mp4"
    if not base.exists():
        ffmpeg(
            *("-stream_loop", "-1", "-i", str(DEMO), "-t", "60", "-r", "25"),
            *("-vf", "scale=1280:720:flags=lanczos,noise=alls=4:allf=t,format=yuv420p"),
            *("-c:v", "libx264", "-preset", "medium", "-crf", "23", "-c:a", "aac", "-ar", "48000"),
            target=base,
        )
    if duration_s == 60:
        return base
    long = media_folder() / f"hd-{duration_s}.mp4"
    if not long.exists():
        ffmpeg("-stream_loop", "-1", "-i", str(base), "-t", str(duration_s), "-c", "copy", target=long)
    return long


def ffmpeg(*arguments: str, target: Path) -> None:
    """Run ffmpeg into ``target``, which appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(made)], check=True)
        shutil.move(made, target)


@dataclass(frozen=True)
class Run:
    """One finished process."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def run(command: Sequence[str]) -> Run:
    """Run a command to its end, its output thrown away."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return _as_run(time.perf_counter() - started, usage)


def _as_run(wall_s: float, usage: resource.struct_rusage) -> Run:
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(ours: Sequence[str], theirs: Sequence[str], *, rounds: int) -> tuple[list[Run], list[Run]]:
    """Run two commands in turn, after one uncounted run of each: a machine that slows down slows both."""
    run(ours)
    run(theirs)
    pairs = [(run(ours), run(theirs)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def report(name: str, ours: list[Run], theirs: list[Run]) -> float:
    """Print the median wall times and the median of the pairwise ratios; give back the latter."""
    ratio = statistics.median(a.wall_s / b.wall_s for a, b in zip(ours, theirs, strict=True))
    print(f"{name}: ratio {ratio:.2f}")
    for who, runs in (("ours", ours), ("theirs", theirs)):
        wall_s = statistics.median(one.wall_s for one in runs)
        cpu_s = statistics.median(one.cpu_s for one in runs)
        print(f"  {who}: median {wall_s:.2f} s wall, {cpu_s:.2f} s cpu, peak {max(one.peak_mb for one in runs):.0f} MB")
    return ratio
