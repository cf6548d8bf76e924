"""Everything that can be chosen about training the alignment, with units and defaults. Unknown keys are an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from avdetect.training.config import RunOptions, validated

__all__ = ["TextRecipe", "TextTrainConfig", "parse_text_config"]

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextRecipe(_Section):
    """Two stages, after TeminAL (arXiv 2408.09269): A, to tell tracks of several sounds apart; B, the order of the
    sounds.
    """

    stage_a_steps: NonNegativeInt = 200
    """Stories without order: a text names what is heard, and not when."""
    stage_b_steps: NonNegativeInt = 600
    """Stories with order, each beside a twin in which two moments are exchanged."""
    batch_tracks: PositiveInt = 32
    """At most; of long tracks there are fewer to a batch."""
    batch_moments: PositiveInt = 160
    """In all tracks of a batch, about."""
    max_moments: PositiveInt = 24
    """In a track."""
    max_track_s: PositiveFloat = 300.0
    gap_snippets: NonNegativeFloat = 4.0
    """Mean length of the silence between moments."""
    pair_share: Share = 0.25
    """Of the tracks of a batch, how many are recordings with texts of their own, where the manifest has such."""

    scene_versions: PositiveInt = 8
    """Mixes of each sound, encoded before training."""
    scene_overlap: Share = 0.25
    """Of the scenes, how many have a second sound."""
    max_sound_s: PositiveFloat = 15.0
    """A recording that is no longer, and has a class or a text of one phrase, is a sound to compose tracks of."""

    joint_dim: PositiveInt = 128
    hidden_dim: PositiveInt = 128
    num_heads: PositiveInt = 4
    left_context_snippets: NonNegativeInt | None = 32
    """W: how far back a snippet's vector depends on what there was; None cannot be streamed."""
    lookahead_snippets: NonNegativeInt | None = 2
    """R: how far ahead; None cannot be streamed."""
    position_range_snippets: NonNegativeInt = 8
    dropout: Share = 0.5
    phrase_dropout: Share = 0.2

    learning_rate: PositiveFloat = 2e-3
    """The highest; it rises for a tenth of a stage and falls on a cosine."""
    scale_learning_rate: PositiveFloat = 1e-2
    """Likewise, of the few numbers that weigh the parts of the score: the weight of order starts at 0 in stage B."""
    weight_decay: NonNegativeFloat = 1e-2
    relevance_weight: NonNegativeFloat = 1.0
    """Of the loss that says where in a track each phrase is heard."""
    negative_weight: PositiveFloat = 8.0
    """In that loss, of where it is not heard."""


class TextTrainConfig(_Section):
    """All that ``train_text`` needs to know."""

    manifest: Path
    output: Path
    """Folder of the checkpoint and the logs."""
    embeddings: Path | None = None
    """Folder of the encoded scenes and recordings; None for ``embeddings`` in ``output``."""
    text_encoder: str | None = None
    """A folder or a name on the Hugging Face hub; None for all-MiniLM-L6-v2."""
    leave_out: tuple[str, ...] = ()
    """Classes that are not learned from, to see what is made of the unknown."""
    recipe: TextRecipe = TextRecipe()
    run: RunOptions = RunOptions()


def parse_text_config(values: dict[str, Any]) -> TextTrainConfig:
    """A config from plain values, such as those of a TOML file.

    Raises:
        UsageError: all that is wrong with them.
    """
    return validated(TextTrainConfig, values)
