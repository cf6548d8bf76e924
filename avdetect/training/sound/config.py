"""Everything that can be chosen about training an encoder of sound. Unknown keys are an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from avdetect.training.config import RunOptions, validated

__all__ = ["HeldOut", "SoundRecipe", "SoundTrainConfig", "parse_sound_config"]

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SoundRecipe(_Section):
    """How an encoder is trained on. The defaults were chosen by folds of origins, on two processor cores."""

    steps: PositiveInt = 2000
    save_steps: PositiveInt = 50
    """After so many the state is saved, and a line is written to the log."""
    batch_scenes: PositiveInt = 8
    scene_snippets: PositiveInt = 8
    """Of a scene; more cost as much more."""
    num_sounds: tuple[NonNegativeInt, NonNegativeInt] = (0, 3)
    """Single sounds in a scene, at least and at most."""
    event_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.55
    """Of the single sounds, how many are events; classes are drawn alike, however many recordings they have."""
    snr_db: tuple[float, float] = (-6.0, 18.0)
    """Of a single sound over its background, at least and at most."""
    synthesised_sirens: Annotated[float, Field(ge=0.0, le=1.0)] = 0.6
    """Of the sounds of the class siren, how many are sweeps made for the scene."""
    masked_bands: NonNegativeInt = 12
    """At most so many bands of a spectrum are masked."""
    beds: tuple[str, ...] = ("ambient", "crowd", "machinery", "music", "speech")
    """Classes that may also go on in the background."""
    events: tuple[str, ...] = ()
    """Classes that matter most and are drawn more often; empty for those of the base bundle that the sounds have."""

    frozen_layers: NonNegativeInt = 8
    """The encoder's first layers, which cost most and carry over best, are left as they are."""
    frozen_in_half: bool = True
    """Whether those are computed in half precision (bfloat16), which takes a quarter of the time."""
    hidden_dim: PositiveInt = 192
    """Of the network on top, which is not kept."""
    embedding_dropout: Share = 0.2
    dropout: Share = 0.3

    encoder_learning_rate: PositiveFloat = 4e-4
    """The highest; it rises first and falls on a cosine."""
    head_learning_rate: PositiveFloat = 2e-3
    warm_up_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    weight_decay: NonNegativeFloat = 0.02
    gradient_norm: PositiveFloat = 5.0
    """Longer gradients are made as short."""
    average_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """Of the moving average over steps that is kept."""
    keep_original: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """How much of the base's weights the kept ones are."""


class HeldOut(_Section):
    """Sounds that are not trained on: a fold of their origins."""

    fold: NonNegativeInt
    num_folds: Annotated[int, Field(ge=2)] = 5


class SoundTrainConfig(_Section):
    """All that ``train_sound`` needs to know."""

    manifest: Path
    output: Path
    """The bundle's folder; what is needed to resume is kept beside it, until it is written."""
    sources: Path | None = None
    """A Markdown table of where the sounds come from."""
    held_out: HeldOut | None = None
    """What to measure on instead of the split ``val``."""
    measured_scenes: NonNegativeInt = 150
    """Scenes of what is held out that say how good the encoder has become."""
    recipe: SoundRecipe = SoundRecipe()
    run: RunOptions = RunOptions()


def parse_sound_config(values: dict[str, Any]) -> SoundTrainConfig:
    """A config from plain values, such as those of a TOML file.

    Raises:
        UsageError: all that is wrong with them.
    """
    return validated(SoundTrainConfig, values)
