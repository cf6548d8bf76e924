"""AudioSet's opinion of the default's classes, beside what its network learned.

A few hundred videos teach a network what a gunshot sounds like among their other sounds; the two million clips that the
audio encoder was trained on have taught it what gunshots sound like at all. Both opinions are added up, as log-odds.

    python -m avdetect_export.known_sounds SOUNDS

finds the numbers of ``KNOWN_SOUNDS`` from labelled sounds, and prints how well they tell these apart. ``SOUNDS`` is a
folder with ``index.jsonl``, one object a line: ``file``, ``class``, ``split`` (``train`` or ``val``; only ``train`` is
fitted to).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from avdetect.manifest import StateSpec
from avdetect.media.location import locate
from avdetect.models.heads import InstanceOutputs, either, instance_mask
from avdetect.models.two_stream import TwoStreamNet
from avdetect.models.window import slide
from avdetect_export.encoder_graphs import LOG_MEL, YamnetWeights, audio_graph, load_yamnet
from avdetect_export.parity import open_graph

__all__ = [
    "CANDIDATES",
    "KNOWN_SOUNDS",
    "InformedNet",
    "KnownSound",
    "LabelledWindows",
    "average_precision",
    "fit_class",
    "inform",
    "read_windows",
]


@dataclass(frozen=True, slots=True)
class KnownSound:
    """An event class as a weighted sum of the logits of AudioSet classes."""

    gains: Mapping[str, float]
    """AudioSet display name -> gain."""
    offset: float


# `python -m avdetect_export.known_sounds SOUNDS`: a logistic regression on 662 labelled sounds that assumes one window
# in ten to hold the event.
KNOWN_SOUNDS = {
    "gunshot": KnownSound({"Gunshot, gunfire": 0.37, "Cap gun": 0.05}, 0.72),
    "explosion": KnownSound({"Explosion": 0.17, "Boom": 0.19, "Eruption": 0.15}, 1.31),
    "scream": KnownSound({"Screaming": 0.22, "Groan": 0.18}, 0.97),
    "glass": KnownSound({"Shatter": 0.17}, -0.49),
    "siren": KnownSound({"Siren": 0.47}, 1.12),
    "crash": KnownSound({"Smash, crash": 0.16, "Slam": 0.19, "Bang": 0.07}, 0.82),
}


class InformedNet(TwoStreamNet):
    """A trained network with a fixed linear classifier of the audio embedding added to its audio logits.

    ``logit[audio] = logit of the network + weight @ audio + bias`` where there is sound; the fused logit says whether
    either modality does.

    Args:
        network: trained, and of the fusion ``either``.
        weight: ``[C, audio_dim]``.
        bias: ``[C]``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, network: TwoStreamNet, weight: Tensor, bias: Tensor) -> None:
        if network.config.fusion != "either":
            raise ValueError(f"the streams of the network must be joined by 'either', not {network.config.fusion!r}.")
        super().__init__(network.config)
        self.load_state_dict(network.state_dict())
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(
        self, audio: Tensor, visual: Tensor, present: Tensor, num_instances: Tensor | None = None
    ) -> InstanceOutputs:
        """Do as ``TwoStreamNet``, and add what is known."""
        if num_instances is not None:
            present = present & instance_mask(num_instances, present.shape[1])[..., None]
        return _informed(super().forward(audio, visual, present), self._known(audio, present), present)

    def forward_stream(
        self, audio: Tensor, visual: Tensor, present: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[InstanceOutputs, dict[str, Tensor]]:
        """Do as ``TwoStreamNet``, and add what is known."""
        outputs, next_state = super().forward_stream(audio, visual, present, state)
        known = self._known(audio, present)
        ahead = self.config.window.bounds()[1]
        if ahead:
            # What is known waits for the lookahead, with the presence it goes with.
            known, next_state["known"] = _delayed(state["known"], known, ahead)
            present, next_state["known_present"] = _delayed(state["known_present"], present, ahead)
        return _informed(outputs, known, present), next_state

    def state_specs(self) -> tuple[StateSpec, ...]:
        """Do as ``TwoStreamNet``, and add what is known."""
        ahead = self.config.window.bounds()[1]
        if not ahead:
            return super().state_specs()
        return (
            *super().state_specs(),
            StateSpec(name="known", shape=(ahead, self.config.num_classes)),
            StateSpec(name="known_present", shape=(ahead, 2), dtype="bool"),
        )

    def _known(self, audio: Tensor, present: Tensor) -> Tensor:
        """``[B, T, C]``, zero where there is no sound."""
        known = functional.linear(audio, self.weight, self.bias)
        return known.masked_fill(~present[..., :1], 0)


def inform(network: TwoStreamNet, class_names: Sequence[str], weights: YamnetWeights) -> InformedNet:
    """Add what AudioSet says of those of ``class_names`` that ``KNOWN_SOUNDS`` names."""
    weight = np.zeros((len(class_names), network.config.audio_dim), np.float32)
    bias = np.zeros(len(class_names), np.float32)
    for row, name in enumerate(class_names):
        if (sound := KNOWN_SOUNDS.get(name)) is not None:
            gains = np.array(list(sound.gains.values()), np.float32)
            rows, biases = weights.rows(tuple(sound.gains))
            weight[row], bias[row] = gains @ rows, gains @ biases + sound.offset
    return InformedNet(network, torch.from_numpy(weight), torch.from_numpy(bias)).eval()


def _informed(outputs: InstanceOutputs, known: Tensor, present: Tensor) -> InstanceOutputs:
    audio_logits = outputs.audio_logits + known
    logits = torch.stack((audio_logits, outputs.visual_logits), 1)
    return outputs._replace(logits=either(logits, present.transpose(1, 2)), audio_logits=audio_logits)


def _delayed(past: Tensor, new: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """``[B, by, ...]`` and ``[B, T, ...]`` -> the T that are due, and what to keep."""
    joined, kept = slide(past[:, None], new[:, None], keep=by)
    assert kept is not None
    return joined[:, 0, :-by], kept[:, 0]


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
    """Logits of AudioSet's classes, ``(windows, 521)``."""
    sound: NDArray[np.int64]
    """Number of the sound, ``(windows,)``."""
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
    with av.open(locate(path).url) as container:
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
