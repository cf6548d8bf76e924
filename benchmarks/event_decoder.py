"""The event decoder on 100,000 snippets of 8 classes: compiled, interpreted, and the rules written down plainly.

    python benchmarks/event_decoder.py [--snippets N]

Prints the time of each (median of several runs after a warm-up), the ratios, and from how many scores on compiling
pays in a process that has not imported numba yet. The plain one counts in exact fractions and takes minutes for all of
it, so it is timed on the first snippets and its time scaled up.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from avdetect.events import segmenter
from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.events.segmenter import decide_events
from avdetect.manifest import EventRule

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.unit.events.obvious import Moment, obvious_events

HOP = Fraction(16, 25)
NUM_CLASSES = 8
RULE = EventRule(on=0.5, off=0.3, smooth_snippets=3, min_duration_s=0.64, merge_gap_s=1.28, cooldown_s=2.0)
RUNS = 5
OBVIOUS_SNIPPETS = 2_000
NEVER = sys.maxsize

COLD_START = """
import time, numpy as np
from avdetect.events.hysteresis import NO_EVENT, RuleNumbers, compiled_advance
from avdetect.manifest import EventRule
x = np.zeros(1)
began = time.perf_counter()
compiled_advance()(RuleNumbers.of(EventRule()), NO_EVENT, x, x, x, x, x, 0, 1, True, np.empty((1, 6)))
print(time.perf_counter() - began)
"""


def rare_events(num_snippets: int) -> ScoreCurve:
    """Low noise with a burst of a few snippets in about one of a hundred."""
    random = np.random.default_rng(5)
    scores = random.random((num_snippets, NUM_CLASSES)) * 0.3
    for start, column in zip(*np.nonzero(random.random(scores.shape) < 0.01), strict=True):
        scores[start : start + random.integers(1, 6), column] += 0.6
    fused = scores.astype(np.float32)
    edges = np.arange(num_snippets + 1) * float(HOP)
    return ScoreCurve(
        source="synthetic",
        classes=tuple(f"class {k}" for k in range(NUM_CLASSES)),
        anomaly_classes=(True,) * NUM_CLASSES,
        start_s=edges[:-1],
        end_s=edges[1:],
        scores=fused,
        audio_scores=fused,
        visual_scores=fused * np.float32(0.4),
        present=np.ones((num_snippets, 2), np.bool_),
    )


def obvious(curve: ScoreCurve, num_snippets: int) -> list[Event]:
    columns = [array[:num_snippets] for array in (curve.scores, curve.audio_scores, curve.visual_scores)]
    events: list[Event] = []
    for k, label in enumerate(curve.classes):
        values = zip(*(array[:, k].tolist() for array in columns), strict=True)
        moments = [Moment(t * HOP, (t + 1) * HOP, *scores, seen=True) for t, scores in enumerate(values)]
        events += obvious_events(label, moments, RULE)
    return events


def median_s(run: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snippets", type=int, default=100_000)
    curve = rare_events(parser.parse_args().snippets)
    rules = [RULE] * NUM_CLASSES

    def decide(compile_from: int) -> list[Event]:
        segmenter.COMPILE_FROM_SCORES = compile_from
        return decide_events(curve, rules)

    compiled = decide(0)  # compiles, or loads what was compiled before
    if compiled != decide(NEVER):
        raise SystemExit("compiled and interpreted code differ")
    compiled_s = median_s(lambda: decide(0), RUNS)
    interpreted_s = median_s(lambda: decide(NEVER), RUNS)
    part = min(OBVIOUS_SNIPPETS, len(curve.start_s))
    obvious_s = median_s(lambda: obvious(curve, part), 1) * len(curve.start_s) / part
    cold = [subprocess.run([sys.executable, "-c", COLD_START], check=True, capture_output=True) for _ in range(RUNS)]
    cold_s = statistics.median(float(run.stdout) for run in cold)
    num_scores = curve.scores.size

    print(f"{len(curve.start_s)} snippets, {NUM_CLASSES} classes, {len(compiled)} events")
    print(f"compiled     {compiled_s * 1e3:9.1f} ms")
    print(f"interpreted  {interpreted_s * 1e3:9.1f} ms   {interpreted_s / compiled_s:6.1f} times the compiled")
    print(f"obvious      {obvious_s * 1e3:9.1f} ms   {obvious_s / compiled_s:6.1f} times the compiled")
    print(f"first compiled call of a process: {cold_s * 1e3:.0f} ms with numba's import, its code cached on disk")
    print(f"compiling pays from {cold_s / (interpreted_s - compiled_s) * num_scores:,.0f} scores on")


if __name__ == "__main__":
    main()
