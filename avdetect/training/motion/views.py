"""Views: three pictures of a clip as the encoder sees them, drawn anew for every step.

A view is cut out of the clip at some place, time, speed and size, mirrored, under another light, noisy and badly
compressed, and often disturbed. What is drawn depends on the seed and the number of the step alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from avdetect.training.motion.clip_pictures import GRID_S, ClipPictures
from avdetect.training.motion.disturbances import (
    CAMERA,
    DISTURBANCES,
    OVERLAYS,
    CameraMotion,
    camera_motion,
    lay_over,
)
from avdetect.training.motion.network import SPACING_S

__all__ = ["MotionBatch", "ViewOptions", "ViewSource", "plain_views"]

_ASPECT = 0.2
_MAX_TURN = 0.08
_CAMERA_SHARE = 0.5
"""Share of the disturbances that are the camera's: they move everything, and are the hardest to see through."""
_CHANCES = [
    _CAMERA_SHARE / len(CAMERA) if kind in CAMERA else (1 - _CAMERA_SHARE) / len(OVERLAYS) for kind in DISTURBANCES
]


class MotionBatch(NamedTuple):
    """N views."""

    pictures: Tensor
    """Float ``[N, 3, height, width]`` in grey levels."""
    rates: Tensor
    """Float ``[N, 2]``: what the two differences are multiplied with; 0 where there is nothing to compare."""
    labels: Tensor
    """Float ``[N, classes]``."""


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How views are drawn. Shares are probabilities per view."""

    size: tuple[int, int] = (96, 128)
    """Height and width of the pictures that the network sees."""
    place_evenness: float = 0.5
    """0: every clip alike; 1: every place alike, however many clips it has."""
    disturbed_events: float = 0.35
    """Share of the views of events that are disturbed."""
    disturbed_normal: float = 0.6
    """Share of the views of clips without an event that are disturbed: synthetic negatives."""
    second_disturbance: float = 0.3
    """Share of the disturbed views with a disturbance more."""
    smallest_crop: float = 0.5
    """Side of the smallest part of a picture that becomes a view."""
    zoomed_out: float = 0.15
    """Share of the views that lie in a black frame."""
    speed: tuple[float, float] = (0.75, 1.35)
    """Clips are played slower and faster, events and others alike."""
    other_spacing: float = 0.25
    """Share of the views whose pictures are nearer or further apart in time, with differences scaled to make up."""
    missing: float = 0.08
    """Share of the differences that are missing, as they are where a picture is, or at a cut."""
    noisy: float = 0.4
    badly_compressed: float = 0.25


class ViewSource:
    """Draws views of clips.

    Args:
        clips: to draw from.
        class_names: the classes of events; a clip of none of them is normal.
        options: how.
        seed: of all that is drawn.
    """

    def __init__(
        self, clips: Sequence[ClipPictures], class_names: Sequence[str], options: ViewOptions, *, seed: int
    ) -> None:
        self._clips = clips
        self._options = options
        self._seed = seed
        self._labels = torch.zeros(len(clips), len(class_names))
        for row, one in enumerate(clips):
            if one.clip.label is not None:
                self._labels[row, class_names.index(one.clip.label)] = 1.0
        self._normal = [row for row, one in enumerate(clips) if one.clip.label is None]
        per_place = Counter(one.clip.place for one in clips)
        weights = np.array([per_place[one.clip.place] ** -options.place_evenness for one in clips])
        self._chance = weights / weights.sum()

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._clips)

    def draw(self, step: int, num_views: int) -> MotionBatch:
        """The batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        rows = rng.choice(len(self._clips), num_views, p=self._chance)
        views = [self._view(int(row), rng) for row in rows]
        rates = torch.tensor([rate for _, rate in views], dtype=torch.float32)
        return MotionBatch(torch.stack([pictures for pictures, _ in views]), rates, self._labels[rows])

    def _view(self, row: int, rng: np.random.Generator) -> tuple[Tensor, tuple[float, float]]:
        options = self._options
        is_event = bool(self._labels[row].any())
        disturbed = rng.random() < (options.disturbed_events if is_event else options.disturbed_normal)
        kinds: list[str] = []
        if disturbed:
            number = 2 if rng.random() < options.second_disturbance else 1
            kinds = [str(kind) for kind in rng.choice(DISTURBANCES, number, replace=False, p=_CHANCES)]
        rate = 1.0
        speed = float(np.exp(rng.uniform(*np.log(options.speed))))
        if rng.random() < options.other_spacing:
            rate = float(rng.uniform(0.65, 1.4))
        pictures = _three(self._clips[row].luma, rng, step_s=SPACING_S * speed / rate)
        camera = next((kind for kind in kinds if kind in CAMERA), "still")
        strength = float(rng.uniform(0.15, 1.0))
        pictures = _cut_out(pictures, camera_motion(camera, strength, rng), rng, options)
        for kind in kinds:
            if kind not in CAMERA:
                other = self._other(rng) if kind in ("passing", "walkers") else None
                pictures = lay_over(kind, pictures, float(rng.uniform(0.15, 1.0)), rng, other)
        pictures = _as_recorded(pictures, rng, options)
        kept = (rng.random(2) >= options.missing) * rate
        return pictures, (float(kept[0]), float(kept[1]))

    def _other(self, rng: np.random.Generator) -> Tensor:
        """Pictures of a clip in which nothing happens, to cut things from."""
        rows = self._normal or range(len(self._clips))
        pictures = _three(self._clips[int(rng.choice(rows))].luma, rng, step_s=SPACING_S)
        return _cut_out(pictures, camera_motion("still", 0.0, rng), rng, self._options)


def plain_views(clip: ClipPictures, size: tuple[int, int], *, every_s: float) -> MotionBatch:
    """Whole, undisturbed pictures of all of a clip, a view every ``every_s``; labels are empty."""
    step = round(SPACING_S / GRID_S)
    starts = np.arange(0, max(1, len(clip.luma) - 2 * step), max(1, round(every_s / GRID_S)))
    places = np.minimum(starts[:, None] + step * np.arange(3), len(clip.luma) - 1)
    pictures = torch.from_numpy(clip.luma[places]).float()
    distinct = torch.from_numpy((np.diff(places, axis=1) > 0).astype(np.float32))
    return MotionBatch(resized(pictures, size), distinct, torch.zeros(len(starts), 0))


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """``pictures`` at another size, by linear interpolation between the nearest points, as the graph has it."""
    if pictures.shape[-2:] == size:
        return pictures
    return functional.interpolate(pictures, size, mode="bilinear", align_corners=False)


def _three(luma: NDArray[np.uint8], rng: np.random.Generator, *, step_s: float) -> Tensor:
    """Three pictures from anywhere in a clip, ``step_s`` apart; short clips repeat their last picture."""
    step = step_s / GRID_S
    start = rng.uniform(0, max(0.0, len(luma) - 1 - 2 * step))
    places = np.minimum(np.rint(start + step * np.arange(3)).astype(int), len(luma) - 1)
    return torch.from_numpy(luma[places]).float()


def _cut_out(pictures: Tensor, motion: CameraMotion, rng: np.random.Generator, options: ViewOptions) -> Tensor:
    """A part of the pictures, mirrored or not, as a camera that moves so would see it."""
    zoomed_out = rng.random() < options.zoomed_out
    side = rng.uniform(1.0, 1.3) if zoomed_out else rng.uniform(options.smallest_crop, 1.0)
    aspect = np.exp(rng.uniform(-_ASPECT, _ASPECT) / 2)
    wide, high = side * aspect, side / aspect
    if not zoomed_out:
        wide, high = min(wide, 1.0), min(high, 1.0)
    room = abs(1 - wide), abs(1 - high)
    centre = rng.uniform(-room[0], room[0]), rng.uniform(-room[1], room[1])
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turn = rng.uniform(-_MAX_TURN, _MAX_TURN) if rng.random() < 0.3 else 0.0
    cos, sin = np.cos(turn + motion.turn), np.sin(turn + motion.turn)
    theta = np.zeros((3, 2, 3), np.float32)
    theta[:, 0, 0] = cos * wide * mirror * motion.scale
    theta[:, 0, 1] = -sin * high * motion.scale
    theta[:, 1, 0] = sin * wide * mirror * motion.scale
    theta[:, 1, 1] = cos * high * motion.scale
    theta[:, 0, 2] = centre[0] + motion.shift[:, 0] * wide
    theta[:, 1, 2] = centre[1] + motion.shift[:, 1] * high
    grid = functional.affine_grid(torch.from_numpy(theta), [3, 1, *options.size], align_corners=False)
    padding = "zeros" if zoomed_out else "border"
    return functional.grid_sample(pictures[:, None], grid, padding_mode=padding, align_corners=False)[:, 0]


def _as_recorded(pictures: Tensor, rng: np.random.Generator, options: ViewOptions) -> Tensor:
    """Under another light, with noise and the coarseness of a low bit rate; in whole grey levels."""
    contrast, brightness = rng.uniform(0.5, 1.4), rng.uniform(-40, 40)
    pictures = (pictures - 127) * contrast + 127 + brightness
    if rng.random() < options.badly_compressed:
        side = int(rng.choice([2, 4, 8]))
        coarse = functional.avg_pool2d(pictures[:, None], side, ceil_mode=True, count_include_pad=False)
        coarse = functional.interpolate(coarse, scale_factor=side, mode="nearest")
        coarse = coarse[:, 0, : pictures.shape[1], : pictures.shape[2]]
        share = torch.from_numpy(rng.uniform(0, 0.7, (3, 1, 1)).astype(np.float32))
        pictures = torch.lerp(pictures, coarse, share)
    if rng.random() < options.noisy:
        noise = rng.standard_normal(pictures.shape, np.float32) * np.float32(rng.uniform(0, 8))
        pictures = pictures + torch.from_numpy(noise)
    return pictures.clamp(0, 255).round()
