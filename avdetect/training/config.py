"""Everything that can be chosen about training, with units and defaults. Unknown keys are an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

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

__all__ = [
    "MacilSdRecipe",
    "ProductRecipe",
    "RunOptions",
    "TextRecipe",
    "TextTrainConfig",
    "TrainConfig",
    "parse_config",
    "parse_text_config",
    "validated",
]

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
    """The most snippets of a video; of a longer one so many are taken, evenly spread."""
    use_appearance: bool = False
    """Look at more of a picture than its motion. Features without a motion part are always used whole."""

    look_at: Literal["motion", "logits"] = "motion"
    """Of the motion embedding: all of it, or only the logits of a trained motion encoder. Clips that it was trained on
    look surer to it than any others: where the same clips are learned from again, its logits carry over best."""

    hidden_dim: PositiveInt = 32
    num_heads: PositiveInt = 4
    feed_forward_dim: PositiveInt = 32
    left_context_snippets: NonNegativeInt | None = 32
    """W: how far back a score depends on what there was; None for all of the past, which cannot be streamed."""
    lookahead_snippets: NonNegativeInt | None = 2
    """R: how far ahead; the latency. None for all of the future, which cannot be streamed."""
    fusion: Literal["sum", "either"] = "either"
    """The rule by which what is heard and what is seen become one: logits add up, or each is enough on its own."""
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
    """Dropout on what attention and feed-forward add."""
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

    snippet_weight: NonNegativeFloat = 1.0
    """Weight of the losses of single snippets in composed scenes and normal videos, where what happens is known."""
    fused_weight: NonNegativeFloat = 0.0
    """Weight of the bag loss of both modalities together."""
    modality_weight: NonNegativeFloat = 1.0
    """Weight of the bag losses of each modality alone."""
    contrast_weight: NonNegativeFloat = 0.0
    """Weight of the modality-aware contrastive losses at their height; they are ramped up over the first epochs."""
    contrast_between: Literal["classes", "events"] = "classes"
    """``classes``: what is heard and seen of the same class, as published. ``events``: of any event, in bags in which
    one is heard and one is seen, behind a projection; for classes of which some are only heard, others only seen."""
    contrast_dim: PositiveInt = 32
    """Numbers of that projection."""
    self_distillation: bool | Literal["stream"] = False
    """Train a visual-only partner beside the network and mix its weights in after every epoch: all that both have, as
    published, or only those of the visual stream before it meets the other (``stream``)."""
    distillation_weight: NonNegativeFloat = 1.0
    """Weight of the difference from the teacher's scores, where there is a teacher."""


class MacilSdRecipe(_Section):
    """The published method (MACIL-SD, arXiv 2207.05500) with its published values; for comparison."""

    name: Literal["macil-sd"] = "macil-sd"
    epochs: PositiveInt = 50
    batch_bags: PositiveInt = 128
    max_snippets: PositiveInt | None = 200
    learning_rate: PositiveFloat = 4e-4
    partner_learning_rate: PositiveFloat = 8e-5
    cosine_epochs: PositiveInt = 60
    """Epochs after which the learning rate would reach zero."""
    crossed: bool = True
    """Select as published: audio scores select among visual representations and the other way round."""


class RunOptions(_Section):
    """The place and manner of running; only ``seed`` and ``precision`` change what is learned."""

    seed: NonNegativeInt = 0
    accelerator: str = "auto"
    """Lightning's name of it: auto, cpu, gpu ..."""
    devices: PositiveInt | Literal["auto"] = 1
    """Number of devices per node."""
    num_nodes: PositiveInt = 1
    strategy: str = "auto"
    """Lightning's name of it: auto, ddp ..."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    loader_workers: NonNegativeInt = 0
    """Processes that read embeddings; 0 to read in the training process."""
    progress: bool = True
    """Draw a bar; for the command line."""
    resume: bool = False
    """Go on from where training into the same folder was interrupted."""


class SceneSource(_Section):
    """Scenes to learn from beside videos, or in place of them: composed of short clips and single sounds."""

    clips: Path
    """List of clips with their class and place (docs/training.md)."""
    sounds: Path
    """List of sounds with their class."""
    sources: Path | None = None
    """Table of where the sounds come from, for what is noted of them; see ``read_sound_files``."""
    without_places: tuple[str, ...] = ()
    """Places whose clips are left out."""
    num_scenes: PositiveInt = 300
    """So many are composed and encoded, once; bags are drawn from them for ever."""
    seed: NonNegativeInt = 0
    """Of the scenes. What is drawn from them follows ``run.seed``."""
    bags_per_epoch: PositiveInt = 512
    snippets: tuple[PositiveInt, PositiveInt] = (32, 72)
    """Length of a bag, shortest and longest."""
    positive_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.65
    """Of the scenes, in how many something happens."""
    varied_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7
    """Of the single sounds, how many are varied in pitch, colour and room."""
    embeddings: Path | None = None
    """Folder in which encoded scenes are kept for the next time; None for ``scenes`` in the output."""


class TrainConfig(_Section):
    """All that ``train`` needs to know."""

    manifest: Path | None = None
    """Videos with their labels; None to learn from ``scenes`` alone."""
    scenes: SceneSource | None = None
    """Scenes to learn from; None to learn from videos alone."""
    output: Path
    """Folder of the checkpoint, the logs and what is needed to resume."""
    val_manifest: Path | None = None
    """Videos to validate on; else those of split ``val``; else a share of the videos without a split."""
    val_share: Share = 0.2
    """Share to hold out where nothing else says what to validate on; 0 for no validation."""
    class_names: tuple[str, ...] | None = None
    """The classes to learn; None for those of the manifest."""
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


class TextRecipe(_Section):
    """Two stages, after TeminAL (arXiv 2408.09269): A, to tell tracks of several sounds apart; B, the order of the
    sounds.
    """

    stage_a_steps: NonNegativeInt = 200
    """Stories without order: a text names what is heard, and not when."""
    stage_b_steps: NonNegativeInt = 600
    """Stories with order, each beside a twin in which two moments are exchanged."""
    batch_tracks: PositiveInt = 32
    """Most tracks of a batch; of long ones there are fewer."""
    batch_moments: PositiveInt = 160
    """Moments in all tracks of a batch, about."""
    max_moments: PositiveInt = 24
    """Most moments in a track."""
    max_track_s: PositiveFloat = 300.0
    gap_snippets: NonNegativeFloat = 4.0
    """Mean length of the silence between moments."""
    pair_share: Share = 0.25
    """Share of the tracks that are recordings with texts of their own, where the manifest has such."""

    scene_versions: PositiveInt = 8
    """Mixes of each sound, encoded before training."""
    scene_overlap: Share = 0.25
    """Share of the scenes that have a second sound."""
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
    """The same for the few numbers that weigh the parts of the score: the weight of order starts at 0 in stage B."""
    weight_decay: NonNegativeFloat = 1e-2
    relevance_weight: NonNegativeFloat = 1.0
    """Weight of the loss that says where in a track each phrase is heard."""
    negative_weight: PositiveFloat = 8.0
    """Weight in that loss of where it is not heard."""


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


def parse_config(values: dict[str, Any]) -> TrainConfig:
    """A config from plain values, such as those of a TOML file.

    Raises:
        UsageError: all that is wrong with them.
    """
    return validated(TrainConfig, values)


def parse_text_config(values: dict[str, Any]) -> TextTrainConfig:
    """A config from plain values, such as those of a TOML file.

    Raises:
        UsageError: all that is wrong with them.
    """
    return validated(TextTrainConfig, values)


def validated(model: type[Config], values: dict[str, Any]) -> Config:
    """Check ``values`` and make a ``model`` of them.

    Raises:
        UsageError: all that is wrong with them.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [_fault(model, fault["loc"], fault["type"], fault["msg"]) for fault in error.errors()]
        raise UsageError(f"the training configuration has mistakes: {'; '.join(faults)}.") from error


def _fault(model: type[BaseModel], place: Sequence[str | int], kind: str, message: str) -> str:
    recipes = {recipe.model_fields["name"].default for recipe in (ProductRecipe, MacilSdRecipe)}
    setting = ".".join(str(part) for part in place if part not in recipes)
    if kind != "extra_forbidden":
        return f"{setting}: {message}"
    chosen = next((part for part in place if part in recipes), None)
    section, _, name = setting.rpartition(".")
    known = list(_settings(model, recipe=chosen))
    # In its section, else in all: the section may be what was forgotten.
    for candidates in ([one for one in known if one.rpartition(".")[0] == section], known):
        by_name = {one.rpartition(".")[2]: one for one in reversed(candidates)}
        if near := get_close_matches(name, by_name, 1, 0.75):
            return f"{setting}: is no setting; did you mean {by_name[near[0]]}?"
    return f"{setting}: is no setting"


def _settings(model: type[BaseModel], recipe: str | int | None) -> Iterator[str]:
    """The dotted names of all settings; of the recipes those of ``recipe``, or of all where it is None."""
    for name, info in model.model_fields.items():
        sections = [
            section
            for section in (info.annotation, *get_args(info.annotation))
            if isinstance(section, type) and issubclass(section, BaseModel)
        ]
        for section in sections:
            if recipe is None or "name" not in section.model_fields or section.model_fields["name"].default == recipe:
                yield from (f"{name}.{inner}" for inner in _settings(section, recipe))
        if not sections:
            yield name
