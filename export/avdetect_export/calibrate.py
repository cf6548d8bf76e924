"""Finds the numbers of ``known_sounds.py``, from labelled sounds.

    python -m avdetect_export.calibrate SOUNDS

prints its table, and how well it tells the labelled sounds apart. ``SOUNDS`` is a folder with
``index.jsonl``, one object a line: ``file``, ``class``, ``split`` (``train`` or ``val``; only ``train`` is fitted to).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from avdetect_export.encoder_graphs import LOG_MEL, YamnetWeights, audio_graph, load_yamnet
from avdetect_export.parity import open_graph

__all__ = ["CANDIDATES", "LabelledWindows", "average_precision", "fit_class", "read_windows"]

CANDIDATES: dict[str, tuple[str, ...]] = {
    "gunshot": ("Gunshot, gunfire", "Cap gun"),
    "explosion": ("Explosion", "Boom", "Eruption"),
    "scream": ("Screaming", "Groan"),
    "glass": ("Shatter",),
    "siren": ("Siren",),
    "crash": ("Smash, crash", "Slam", "Bang"),
}
"""The AudioSet classes that may speak for an event class."""

_HOP_SAMPLES = 10_240
_EVENT_SHARE = 0.1
"""The share of event windows that the offsets assume."""
_USUAL_GAIN = 0.2
_GAIN_PENALTY = 0.02
"""Draws the gains to ``_USUAL_GAIN``: there are as few as six sounds of a class."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledWindows:
    """The windows of labelled sounds that are within 20 dB of the loudest of their sound."""

    logits: NDArray[np.float32]
    """Of AudioSet's classes, ``(windows, 521)``."""
    sound: NDArray[np.int64]
    """Which sound, ``(windows,)``."""
    label: NDArray[np.str_]
    """``(windows,)``."""


def read_windows(folder: Path, split: str, weights: YamnetWeights) -> LabelledWindows:
    """Windows of the sounds of ``split``, cut as the runtime cuts them."""
    session = open_graph(audio_graph(weights))
    logits, sounds, labels = [], [], []
    lines = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
    for number, row in enumerate(json.loads(line) for line in lines):
        if row["split"] != split:
            continue
        windows = _cut(_decode(folder / row["file"]))
        loudness = np.sqrt((windows**2).mean(axis=1))
        windows = windows[loudness >= 0.1 * loudness.max()]
        embedding = session.run(None, {"waveform": windows})[0]
        logits.append(embedding @ weights.classifier_weight.T + weights.classifier_bias)
        sounds += [number] * len(windows)
        labels += [row["class"]] * len(windows)
    return LabelledWindows(np.concatenate(logits), np.array(sounds), np.array(labels))


def _decode(path: Path) -> NDArray[np.float32]:
    resampler = av.AudioResampler("fltp", "mono", LOG_MEL.rate_hz)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def _cut(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    number = -(-len(samples) // _HOP_SAMPLES)
    before = LOG_MEL.window_samples - _HOP_SAMPLES
    padded = np.pad(samples, (before, number * _HOP_SAMPLES - len(samples)))
    return np.lib.stride_tricks.sliding_window_view(padded, LOG_MEL.window_samples)[::_HOP_SAMPLES]


def fit_class(
    logits: NDArray[np.float32], positive: NDArray[np.bool_], sound: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Logistic regression with gains that are not negative, by Newton's method; every sound counts alike.

    Args:
        logits: ``(windows, candidates)``.
        positive: ``(windows,)``.
        sound: ``(windows,)``.

    Returns:
        The gains, then the offset, ``(candidates + 1,)``.
    """
    _, inverse, count = np.unique(sound, return_inverse=True, return_counts=True)
    weight = 1.0 / count[inverse]
    weight[positive] *= _EVENT_SHARE / weight[positive].sum()
    weight[~positive] *= (1.0 - _EVENT_SHARE) / weight[~positive].sum()
    x = np.column_stack([logits, np.ones(len(logits))]).astype(np.float64)
    usual = np.append(np.full(logits.shape[1], _USUAL_GAIN), 0.0)
    penalty = np.diag(np.append(np.full(logits.shape[1], _GAIN_PENALTY), 0.0))

    def loss(solution: NDArray[np.float64]) -> float:
        logit = x @ solution
        surprise = weight @ (np.logaddexp(0.0, logit) - positive * logit)
        away = solution - usual
        return float(surprise + 0.5 * away @ penalty @ away)

    solution = usual.copy()
    for _ in range(50):
        probability = np.exp(-np.logaddexp(0.0, -(x @ solution)))
        gradient = x.T @ (weight * (probability - positive)) + penalty @ (solution - usual)
        curvature = (x.T * (weight * probability * (1.0 - probability))) @ x + penalty
        # A gain at zero that wants to be negative stays out of the step.
        free = (solution > 0.0) | (gradient < 0.0)
        free[-1] = True
        step = np.zeros_like(solution)
        step[free] = np.linalg.lstsq(curvature[np.ix_(free, free)], gradient[free], rcond=None)[0]
        for length in 0.5 ** np.arange(12):
            trial = solution - length * step
            trial[:-1] = np.maximum(trial[:-1], 0.0)
            if loss(trial) < loss(solution):
                solution = trial
                break
    return solution


def average_precision(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Mean of the precision at every positive, best score first."""
    ranked = positive[np.argsort(-score, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


def _report(name: str, solution: NDArray[np.float64], windows: LabelledWindows, columns: list[int]) -> str:
    """One line: AP over sounds, share of a class's sounds and of the benign ones that reach 0.5."""
    logit = windows.logits[:, columns] @ solution[:-1] + solution[-1]
    sounds, first = np.unique(windows.sound, return_index=True)
    highest = np.array([logit[windows.sound == sound].max() for sound in sounds])
    label = windows.label[first]
    found = float((highest[label == name] > 0).mean())
    false = float((highest[~np.isin(label, list(CANDIDATES))] > 0).mean())
    ap = average_precision(highest, label == name)
    return f"AP {ap:.2f}, found {found:.2f}, false alarms in benign sounds {false:.3f}"


def main() -> None:
    """Fit to the train split, report train and val."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sounds", type=Path)
    weights = load_yamnet()
    folder = parser.parse_args().sounds
    splits = {split: read_windows(folder, split, weights) for split in ("train", "val")}
    train = splits["train"]
    for name, candidates in CANDIDATES.items():
        columns = [weights.class_names.index(candidate) for candidate in candidates]
        solution = fit_class(train.logits[:, columns], train.label == name, train.sound)
        gains = {row: round(gain, 2) for row, gain in zip(candidates, solution[:-1].tolist(), strict=True)}
        print(f"{name}: {gains}, offset {solution[-1]:.2f}")
        for split, windows in splits.items():
            print(f"  {split}: {_report(name, solution, windows, columns)}")


if __name__ == "__main__":
    main()
