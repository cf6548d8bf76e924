"""What can be chosen about training a motion encoder, with units and defaults. Unknown keys are an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt

from avdetect.training.config import RunOptions, validated

__all__ = ["MotionRecipe", "MotionTrainConfig", "parse_motion_config", "states_folder"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MotionRecipe(_Section):
    """What is learned and how."""

    epochs: PositiveInt = 14
    """In an epoch, as many views are drawn as there are clips, twice."""
    batch_views: PositiveInt = 24
    learning_rate: PositiveFloat = 7e-4
    """Of the trunk, the highest, as a share of the size of its weights; it rises for a twentieth of the steps and falls
    on a cosine."""
    head_learning_rate: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 0.05
    mixup: NonNegativeFloat = 0.4
    """Views are mixed in pairs, by shares drawn from a beta distribution with this parameter; 0 for none."""
    synthetic_negatives: bool = True
    """Whether views are disturbed: by a camera that moves, by light, weather and things that pass."""
    bottleneck_dim: PositiveInt = 16
    picture_height: PositiveInt = 96
    """Of what the network sees; twice the height costs four times as much."""
    picture_width: PositiveInt = 128


class MotionTrainConfig(_Section):
    """All that ``train_motion`` needs to know."""

    clips: Path
    output: Path
    """The bundle that is to be written; checkpoint, log and what is needed to resume are kept beside it."""
    hold_out_places: tuple[str, ...] = ()
    """Places that are not learned from, to measure what the encoder makes of places it has never seen."""
    recipe: MotionRecipe = MotionRecipe()
    run: RunOptions = RunOptions()


def parse_motion_config(values: dict[str, Any]) -> MotionTrainConfig:
    """A config from plain values.

    Raises:
        UsageError: all that is wrong with them.
    """
    return validated(MotionTrainConfig, values)


def states_folder(output: Path) -> Path:
    """Where the checkpoint, the log and what is needed to resume are kept: beside the bundle that will be written."""
    return output.with_name(f"{output.name}.training")
