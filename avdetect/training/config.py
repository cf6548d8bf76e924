"""Everything that can be chosen about training, with units and defaults. Unknown keys are an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from avdetect.errors import UsageError

__all__ = ["MacilSdRecipe", "ProductRecipe", "RunOptions", "TrainConfig", "parse_config", "validated"]

Config = TypeVar("Config", bound=BaseModel)
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProductRecipe(_Section):
    """Two streams that learn on their own first, and from each other as far as that pays."""

    name: Literal["product"] = "product"
    epochs: PositiveInt = 40
    batch_bags: PositiveInt = 64
    max_snippets: PositiveInt | None = 1000
    """Of a longer video so many are taken, evenly spread."""
    use_appearance: bool = False
    """Whether to look at more of a picture than its motion. Features without a motion part are always used whole."""

    hidden_dim: PositiveInt = 32
    num_heads: PositiveInt = 4
    feed_forward_dim: PositiveInt = 32
    left_context_snippets: NonNegativeInt | None = 32
    """W: how far back a score depends on what there was; None for all of the past, which cannot be streamed."""
    lookahead_snippets: NonNegativeInt | None = 2
    """R: how far ahead; the latency. None for all of the future, which cannot be streamed."""
    fusion: Literal["sum", "either"] = "either"
    """How the logits of what is heard and what is seen become one: they add up, or each is enough on its own."""
    only_heard: tuple[str, ...] = ()
    """Classes that cannot be seen, such as a siren: the picture is not asked for them."""
    only_seen: tuple[str, ...] = ()
    """Classes that cannot be heard."""
    position_range_snippets: NonNegativeInt = 8
    smoothing_range_snippets: NonNegativeInt = 2
    """Representations are averaged this far to either side, inside W and R."""

    audio_dropout: Share = 0.9
    """Share of the audio embedding's numbers that are left out, per snippet."""
    visual_dropout: Share = 0.3
    block_dropout: Share = 0.5
    """On what attention and feed-forward add."""
    modality_dropout: Share = 0.1
    """Share of the bags that are only heard, and of those that are only seen."""
    noise: NonNegativeFloat = 0.5
    """Standard deviation of what is added to embeddings, in those of the training data."""

    learning_rate: PositiveFloat = 2e-3
    """The highest; it rises for a third of the steps and falls on a cosine."""
    weight_decay: NonNegativeFloat = 1e-2
    instances_per_pick: PositiveInt = 16
    """A bag's score is the mean of its highest ``n // instances_per_pick + 1`` snippets."""
    balance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """0: every bag counts alike; 1: the bags with a class count as much, all together, as those without it."""

    fused_weight: NonNegativeFloat = 0.0
    """Of the bag loss of both modalities together."""
    modality_weight: NonNegativeFloat = 1.0
    """Of the bag losses of each modality alone."""
    contrast_weight: NonNegativeFloat = 0.0
    """Of the modality-aware contrastive losses, at their full height; they are ramped up over the first epochs."""
    self_distillation: bool = False
    """Train a visual-only partner beside the network and mix its weights in after every epoch."""
    distillation_weight: NonNegativeFloat = 1.0
    """Of the difference from the teacher's scores, where there is a teacher."""


class MacilSdRecipe(_Section):
    """The published method (MACIL-SD, arXiv 2207.05500) with its published values; for comparison."""

    name: Literal["macil-sd"] = "macil-sd"
    epochs: PositiveInt = 50
    batch_bags: PositiveInt = 128
    max_snippets: PositiveInt | None = 200
    learning_rate: PositiveFloat = 4e-4
    partner_learning_rate: PositiveFloat = 8e-5
    cosine_epochs: PositiveInt = 60
    """After which the learning rate would reach zero."""
    crossed: bool = True
    """As published, audio scores select among visual representations and the other way round."""


class RunOptions(_Section):
    """Where and how to run; does not change what is learned, but for ``seed`` and ``precision``."""

    seed: NonNegativeInt = 0
    accelerator: str = "auto"
    """As Lightning names it: auto, cpu, gpu ..."""
    devices: PositiveInt | Literal["auto"] = 1
    """Per node."""
    num_nodes: PositiveInt = 1
    strategy: str = "auto"
    """As Lightning names it: auto, ddp ..."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    loader_workers: NonNegativeInt = 0
    """Processes that read embeddings; 0 to read in the training process."""
    progress: bool = True
    """For the command line: whether to draw a bar."""
    resume: bool = False
    """Go on from where training into the same folder was interrupted."""


class TrainConfig(_Section):
    """All that ``train`` needs to know."""

    manifest: Path
    output: Path
    """Folder of the checkpoint, the logs and what is needed to resume."""
    val_manifest: Path | None = None
    """Videos to validate on; else those of split ``val``; else a share of the videos without a split."""
    val_share: Share = 0.2
    """How much to hold out where nothing else says what to validate on; 0 for no validation."""
    class_names: tuple[str, ...] | None = None
    """None for those of the manifest."""
    embeddings: Path | None = None
    """Folder of the extracted embeddings; None for ``embeddings`` in ``output``."""
    schedule: Literal["best", "fixed"] = "best"
    """Keep the epoch that validates best, or the last one, whatever validation says."""
    early_stop_epochs: PositiveInt | None = None
    """Stop when so many epochs have brought no better validation."""
    teacher: Path | None = None
    """Checkpoint whose scores the network is to reproduce beside the labels (product recipe)."""
    recipe: Annotated[ProductRecipe | MacilSdRecipe, Field(discriminator="name")] = ProductRecipe()
    run: RunOptions = RunOptions()


def parse_config(values: dict[str, Any]) -> TrainConfig:
    """A config from plain values, such as those of a TOML file.

    Raises:
        UsageError: all that is wrong with them.
    """
    return validated(TrainConfig, values)


def validated(model: type[Config], values: dict[str, Any]) -> Config:
    """``values`` as a ``model``.

    Raises:
        UsageError: all that is wrong with them.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError(f"the training configuration has mistakes: {'; '.join(faults)}.") from error
