"""What moves in a picture and means nothing: cameras, light, weather and things that pass.

A disturbance is laid over three pictures in a row. Laid over clips in which nothing happens it makes lively ones in
which nothing happens either; laid over an event it leaves the event what it is. An encoder that has seen both does not
take what is lively for what is violent.

All pictures are float32 in grey levels, ``(3, height, width)``; none of the inputs is changed. The same ``rng`` gives
the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = ["CAMERA", "DISTURBANCES", "OVERLAYS", "CameraMotion", "Overlay", "camera_motion", "disturbed", "lay_over"]

NUM_PICTURES = 3
CAMERA = ("shake", "pan", "zoom")
"""Disturbances of the camera: they move what of the scene is on the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """Where the camera looks in each of the pictures, relative to where it looks on average."""

    shift: NDArray[np.float32]
    """To the right and down, in half pictures, ``(3, 2)``."""
    scale: NDArray[np.float32]
    """How much of the scene is seen, ``(3,)``: below 1 is nearer."""
    turn: NDArray[np.float32]
    """Radians, ``(3,)``."""


def camera_motion(kind: str, strength: float, rng: np.random.Generator) -> CameraMotion:
    """One of ``CAMERA``, or ``"still"``.

    Args:
        kind: what the camera does.
        strength: 0 .. 1, at most a tenth of the picture from one picture to the next.
        rng: decides on the direction.
    """
    shift = np.zeros((NUM_PICTURES, 2), np.float32)
    scale = np.ones(NUM_PICTURES, np.float32)
    turn = np.zeros(NUM_PICTURES, np.float32)
    if kind == "shake":
        shift += rng.uniform(-0.15, 0.15, shift.shape).astype(np.float32) * np.float32(strength)
        turn += rng.uniform(-0.04, 0.04, turn.shape).astype(np.float32) * np.float32(strength)
    elif kind == "pan":
        angle = rng.uniform(0, 2 * np.pi)
        step = 0.2 * strength * np.array([np.cos(angle), 0.4 * np.sin(angle)])
        shift += np.outer(np.arange(NUM_PICTURES) - 1, step).astype(np.float32)
    elif kind == "zoom":
        step = rng.choice([-1, 1]) * 0.1 * strength
        scale *= (1 + step) ** (np.arange(NUM_PICTURES, dtype=np.float32) - 1)
    return CameraMotion(shift, scale, turn)


def flicker(pictures: Tensor, strength: float, rng: np.random.Generator, _: Tensor) -> Tensor:
    """Light that changes from one picture to the next, over the whole picture or more on one side of it."""
    gain = torch.from_numpy(rng.uniform(-0.5, 0.5, NUM_PICTURES).astype(np.float32))[:, None, None] * strength
    if rng.random() < 0.5:
        gain = gain * _slope(pictures.shape[1:], rng.uniform(0, 2 * np.pi))
    offset = torch.from_numpy(rng.uniform(-30, 30, NUM_PICTURES).astype(np.float32))[:, None, None] * strength
    return pictures * (1 + gain) + offset


def headlights(pictures: Tensor, strength: float, rng: np.random.Generator, _: Tensor) -> Tensor:
    """One or two lamps that pass, with a glow around them that lights up the scene."""
    height, width = pictures.shape[1:]
    start = np.array([rng.uniform(-0.2, 1.2), rng.uniform(0.1, 0.9)])
    step = np.array([rng.choice([-1, 1]) * rng.uniform(0.03, 0.25), rng.uniform(-0.05, 0.05)])
    lamp, glow = rng.uniform(0.02, 0.06), rng.uniform(0.15, 0.6)
    apart = rng.uniform(0.05, 0.2) if rng.random() < 0.6 else 0.0
    result = []
    for index in range(NUM_PICTURES):
        light = torch.zeros(height, width)
        for offset in {0.0, apart}:
            away = _distance(height, width, start[0] + offset + step[0] * index, start[1] + step[1] * index)
            light = light + torch.exp(-((away / lamp) ** 2)) * 255 + torch.exp(-((away / glow) ** 2)) * 90
        result.append(pictures[index] * (1 + light / 400 * strength) + light * strength)
    return torch.stack(result)


def rain(pictures: Tensor, strength: float, rng: np.random.Generator, _: Tensor) -> Tensor:
    """Streaks, others in every picture."""
    length = 2 * int(rng.integers(2, 7)) + 1
    slant = rng.uniform(-0.4, 0.4)
    kernel = torch.zeros(1, 1, length, length)
    for row in range(length):
        column = length / 2 + slant * (row - length / 2)
        kernel[0, 0, row, min(max(int(column), 0), length - 1)] = 1.0
    drops = torch.from_numpy((rng.random((NUM_PICTURES, 1, *pictures.shape[1:])) < 0.006 * strength).astype(np.float32))
    streaks = functional.conv2d(drops, kernel, padding="same")[:, 0].clamp(max=1.0)
    return pictures + streaks * rng.uniform(20, 100)


def snow(pictures: Tensor, strength: float, rng: np.random.Generator, _: Tensor) -> Tensor:
    """Flakes that fall: the same ones in all pictures, further down."""
    height, width = pictures.shape[1:]
    side = int(rng.integers(1, 5))
    flakes = (rng.random((1, 1, height, width)) < 0.02 * strength / side).astype(np.float32)
    field = functional.avg_pool2d(torch.from_numpy(flakes), side, stride=1, padding=side // 2) * side**2
    field = field[0, 0, :height, :width].clamp(max=1.0)
    down, aside = int(rng.integers(2, max(3, height // 6))), int(rng.integers(-width // 16, width // 16 + 1))
    moved = [torch.roll(field, (down * index, aside * index), (0, 1)) for index in range(NUM_PICTURES)]
    return pictures + torch.stack(moved) * rng.uniform(40, 140)


def passing(pictures: Tensor, strength: float, rng: np.random.Generator, other: Tensor) -> Tensor:
    """A large thing close to the camera: a part of another clip in a soft outline, passing at a steady speed."""
    size = np.array([rng.uniform(0.2, 0.35), rng.uniform(0.2, 0.35)]) * (0.5 + strength)
    centre = np.array([rng.uniform(0, 1), rng.uniform(0.1, 0.9)])
    angle = rng.uniform(0, 2 * np.pi)
    step = rng.uniform(0.02, 0.25) * np.array([np.cos(angle), 0.3 * np.sin(angle)])
    return _blend(pictures, other, centre, step, size, rng)


def walkers(pictures: Tensor, strength: float, rng: np.random.Generator, other: Tensor) -> Tensor:
    """Upright figures that cross the picture in a row, bobbing, each in its own direction."""
    for _ in range(1 + int(3 * strength * rng.random())):
        tall = rng.uniform(0.15, 0.5)
        size = np.array([tall * rng.uniform(0.12, 0.22), tall / 2])
        centre = np.array([rng.uniform(0, 1), rng.uniform(0.3, 0.8)])
        step = np.array([rng.choice([-1, 1]) * rng.uniform(0.01, 0.08), rng.uniform(-0.01, 0.01)])
        pictures = _blend(pictures, other, centre, step, size, rng)
    return pictures


Overlay = Callable[[Tensor, float, np.random.Generator, Tensor], Tensor]
"""``(pictures, strength 0 .. 1, rng, pictures of another clip) -> pictures``."""

OVERLAYS: Mapping[str, Overlay] = {
    "flicker": flicker,
    "headlights": headlights,
    "rain": rain,
    "snow": snow,
    "passing": passing,
    "walkers": walkers,
}
"""Disturbances of what is on the picture."""

DISTURBANCES = (*CAMERA, *OVERLAYS)
"""All kinds."""


def lay_over(
    kind: str, pictures: Tensor, strength: float, rng: np.random.Generator, other: Tensor | None = None
) -> Tensor:
    """Lay one of ``OVERLAYS`` over ``pictures``.

    Args:
        kind: which.
        pictures: three in a row.
        strength: 0 .. 1.
        rng: decides on the rest.
        other: pictures of a clip in which nothing happens, of the same shape, to cut things that pass from; the same
            pictures, upside down, where there is none.
    """
    return OVERLAYS[kind](pictures, strength, rng, pictures.flip(1) if other is None else other)


def disturbed(kind: str, pictures: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """One of ``DISTURBANCES`` laid over whole pictures; where the camera looks beyond them, their edge goes on."""
    if kind not in CAMERA:
        return lay_over(kind, pictures, strength, rng)
    motion = camera_motion(kind, strength, rng)
    cos, sin = np.cos(motion.turn) * motion.scale, np.sin(motion.turn) * motion.scale
    theta = np.stack([cos, -sin, motion.shift[:, 0], sin, cos, motion.shift[:, 1]], axis=1).reshape(-1, 2, 3)
    grid = functional.affine_grid(torch.from_numpy(theta), [NUM_PICTURES, 1, *pictures.shape[1:]], align_corners=False)
    moved: Tensor = functional.grid_sample(pictures[:, None], grid, padding_mode="border", align_corners=False)
    return moved[:, 0]


def _blend(
    pictures: Tensor,
    other: Tensor,
    centre: NDArray[np.float64],
    step: NDArray[np.float64],
    size: NDArray[np.float64],
    rng: np.random.Generator,
) -> Tensor:
    """Lay an ellipse of ``other``, which moves along with it, over ``pictures``; all measures in parts of the picture.

    Args:
        pictures: what is covered.
        other: what covers it.
        centre: of the ellipse in the second picture, across and down.
        step: how far it moves from one picture to the next.
        size: half its width and half its height.
        rng: decides on its light, its outline and what of ``other`` is in it.
    """
    height, width = pictures.shape[1:]
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(0, 1, width)[None, :]
    roll = (int(rng.integers(0, height)), int(rng.integers(0, width)))
    gain, offset, sharpness = rng.uniform(0.5, 1.3), rng.uniform(-50, 50), rng.uniform(4, 14)
    swing = rng.uniform(-0.3, 0.3)
    result = []
    for index in range(NUM_PICTURES):
        x, y = centre + step * (index - 1)
        down = (rows - y) / size[1]
        across = (columns - x - swing * size[0] * (index - 1) * down.clamp(min=0)) / size[0]
        cover = torch.sigmoid((1 - torch.sqrt(down**2 + across**2)) * sharpness)
        moved = (int(step[1] * index * height), int(step[0] * index * width))
        inside = torch.roll(other[index], (roll[0] + moved[0], roll[1] + moved[1]), (0, 1)) * gain + offset
        result.append(torch.lerp(pictures[index], inside.clamp(0, 255), cover))
    return torch.stack(result)


def _distance(height: int, width: int, x: float, y: float) -> Tensor:
    """From a point, in widths of the picture; ``x`` and ``y`` are parts of it."""
    rows = torch.linspace(0, 1, height)[:, None] * (height / width)
    columns = torch.linspace(0, 1, width)[None, :]
    return torch.sqrt((columns - x) ** 2 + (rows - y * height / width) ** 2)


def _slope(shape: torch.Size, angle: float) -> Tensor:
    """From 0 on one side of the picture to 2 on the other."""
    rows = torch.linspace(-1, 1, shape[0])[:, None] * math.sin(angle)
    columns = torch.linspace(-1, 1, shape[1])[None, :] * math.cos(angle)
    return (1 + rows + columns).clamp(0, 2)
