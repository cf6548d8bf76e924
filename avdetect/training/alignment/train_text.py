"""Sounds and texts -> an alignment: START READING HERE.

read_text_records     what there is, and all that is wrong with it
scene_bank            the sounds, mixed and encoded; embed() for recordings with texts of their own
ComposedBatches       tracks and stories, put together anew for every step
AlignmentModule       network and losses
Trainer               Lightning: devices, precision, logs
save_alignment        weights, config and how they came about
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from avdetect.errors import DataError, UsageError
from avdetect.files import make_folder
from avdetect.models.alignment import AlignmentConfig, AlignmentNet
from avdetect.text.phrases import split_phrases
from avdetect.text.records import LabelledSound, TextRecord, read_text_records, read_waveform
from avdetect.training.alignment.scene_bank import PLAIN, Scene, SceneOptions, audio_only, scene_bank
from avdetect.training.alignment.track_batches import AlignmentBatch, ComposedBatches, EmbedPhrases, PairedRecording
from avdetect.training.checkpoint import AlignmentCheckpoint, save_alignment
from avdetect.training.config import TextRecipe, TextTrainConfig
from avdetect.training.embeddings import EmbeddingStore, Encoders, extract, fingerprint
from avdetect.training.objectives.infonce import (
    ContrastiveBatch,
    ContrastiveObjective,
    SymmetricInfoNCE,
    relevance_loss,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "CHECKPOINT_NAME",
    "AlignmentModule",
    "Material",
    "PhraseCache",
    "feature_statistics",
    "prepare",
    "train_text",
]

CHECKPOINT_NAME = "alignment.safetensors"
_GRADIENT_NORM = 1.0


class Material(NamedTuple):
    """All that is learned from, encoded."""

    scenes: tuple[Scene, ...]
    pairs: tuple[PairedRecording, ...]
    hop_s: float

    def audio(self) -> list[NDArray[np.float16]]:
        """All embeddings, ``(T, audio_dim)`` each."""
        return [scene.audio for scene in self.scenes] + [pair.audio for pair in self.pairs]


class PhraseCache:
    """Embeds every phrase once. Safe to call from one thread at a time."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of unit length, ``(N, text_dim)``."""
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._known]
        if new:
            embedded = self._model.encode(new, normalize_embeddings=True, show_progress_bar=False)
            self._known.update(zip(new, np.asarray(embedded, np.float32), strict=True))
        return np.stack([self._known[phrase] for phrase in phrases])


def train_text(
    config: TextTrainConfig,
    *,
    encoders: Encoders,
    text_model: SentenceTransformer,
    on_encoded: Callable[[int, int], None] | None = None,
) -> Path:
    """Train an alignment, and write it as a checkpoint.

    Args:
        config: all choices.
        encoders: of the bundle that the network will run in.
        text_model: embeds phrases; what ``config.text_encoder`` names.
        on_encoded: called with the number of scenes, or of recordings, encoded and to encode.

    Returns:
        The checkpoint, in ``config.output``.

    Raises:
        DataError: the manifest has mistakes, or holds nothing to learn from.
        UsageError: choices that contradict each other.
        OutputError: the output folder cannot be written.
    """
    if config.recipe.stage_a_steps + config.recipe.stage_b_steps == 0:
        raise UsageError("both stages have no steps: there is nothing to train.")
    make_folder(config.output)
    material = prepare(config, encoders, on_encoded=on_encoded)
    lightning.seed_everything(config.run.seed, workers=True, verbose=False)
    embed = PhraseCache(text_model)
    network = _network_config(config.recipe, material, embed)
    module = AlignmentModule(config.recipe, network, *feature_statistics(material), SymmetricInfoNCE())
    batches = ComposedBatches(
        material.scenes, material.pairs, embed, config.recipe, hop_s=material.hop_s, seed=config.run.seed
    )
    with warnings.catch_warnings():
        for message in (".*does not have many workers.*", ".*exists and is not empty.*", ".*GPU available.*"):
            warnings.filterwarnings("ignore", message=message)
        _trainer(config).fit(module, DataLoader(batches, batch_size=None))
    notes = {
        "config": json.loads(config.model_dump_json()),
        "num_scenes": len(material.scenes),
        "num_pairs": len(material.pairs),
        "encoders": fingerprint(encoders.manifest),
    }
    path = config.output / CHECKPOINT_NAME
    save_alignment(AlignmentCheckpoint(module.network.eval(), config.text_encoder, notes), path)
    return path


def prepare(
    config: TextTrainConfig, encoders: Encoders, *, on_encoded: Callable[[int, int], None] | None = None
) -> Material:
    """Read and encode what there is to learn from: the records that are not of the split val.

    A short recording that has a class, or whose text is one phrase, is a sound to compose tracks of; any other is a
    pair.

    Raises:
        DataError: the manifest has mistakes, or holds nothing to learn from.
    """
    encoders = audio_only(encoders)
    assert encoders.manifest.audio is not None
    rate_hz = encoders.manifest.audio.rate_hz
    records = [one for one in read_text_records(config.manifest) if one.split != "val"]
    unknown = set(config.leave_out) - {one.label for one in records}
    if unknown:
        raise DataError(f"{config.manifest} has no class {', '.join(sorted(unknown))} to leave out.")
    sounds: list[LabelledSound] = []
    longer: list[TextRecord] = []
    for record in records:
        is_one = record.label is not None or len(split_phrases(record.text)) == 1
        samples = read_waveform(record.media, rate_hz) if is_one else None
        if samples is not None and len(samples) <= config.recipe.max_sound_s * rate_hz:
            sounds.append(LabelledSound(samples, record.text, record.label))
        else:
            longer.append(record)
    folder = config.embeddings or config.output / "embeddings"
    recipe = config.recipe
    mixed = SceneOptions(versions=recipe.scene_versions, overlap_share=recipe.scene_overlap, seed=config.run.seed)
    # Left out after encoding, so that the scenes can be used again with other classes left out.
    left_out = set(config.leave_out)
    banks = (scene_bank(sounds, one, encoders, folder, on_done=on_encoded) for one in (mixed, PLAIN) if sounds)
    scenes = tuple(scene for bank in banks for scene in bank if not left_out & {one.label for one in scene.heard})
    longer = [one for one in longer if one.label not in left_out]
    pairs = _pairs(longer, EmbeddingStore(folder), encoders, recipe.max_track_s, on_encoded)
    if not pairs and not any(scene.heard for scene in scenes):
        raise DataError(f"{config.manifest}: there is nothing to train on.")
    return Material(scenes, pairs, float(encoders.manifest.hop))


def _pairs(
    records: Sequence[TextRecord],
    store: EmbeddingStore,
    encoders: Encoders,
    max_track_s: float,
    on_encoded: Callable[[int, int], None] | None,
) -> tuple[PairedRecording, ...]:
    if not records:
        return ()
    extract([record.media for record in records], encoders, store, on_done=on_encoded)
    pairs = []
    for record in records:
        audio = store.load(record.media).audio
        if len(audio) > max_track_s / float(encoders.manifest.hop):
            raise DataError(
                f"{record.where}: {record.name} is longer than {max_track_s:g} s; cut it, with a text for each part, "
                "or raise recipe.max_track_s."
            )
        pairs.append(PairedRecording(audio.astype(np.float16), record.text))
    return tuple(pairs)


def _network_config(recipe: TextRecipe, material: Material, embed: EmbedPhrases) -> AlignmentConfig:
    return AlignmentConfig(
        audio_dim=material.audio()[0].shape[1],
        text_dim=embed(["sound"]).shape[1],
        joint_dim=recipe.joint_dim,
        hidden_dim=recipe.hidden_dim,
        num_heads=recipe.num_heads,
        left_context_snippets=recipe.left_context_snippets,
        lookahead_snippets=recipe.lookahead_snippets,
        position_range_snippets=recipe.position_range_snippets,
        dropout=recipe.dropout,
        phrase_dropout=recipe.phrase_dropout,
    )


def feature_statistics(material: Material) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every number of the audio embeddings."""
    parts = material.audio()
    count = sum(len(part) for part in parts)
    total = np.sum([part.sum(axis=0, dtype=np.float64) for part in parts], axis=0)
    squares = np.sum([np.square(part, dtype=np.float64).sum(axis=0) for part in parts], axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


def _trainer(config: TextTrainConfig) -> lightning.Trainer:
    run = config.run
    callbacks: list[Callback] = [RichProgressBar(leave=False)] if run.progress else []
    return lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        precision=run.precision,
        max_epochs=1,
        gradient_clip_val=_GRADIENT_NORM,
        deterministic="warn",
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=run.progress,
        enable_model_summary=False,
        logger=CSVLogger(config.output, name="", version="logs"),
        callbacks=callbacks,
    )


_WARM_UP_SHARE = 0.1


class AlignmentModule(lightning.LightningModule):
    """The network with its losses.

    Args:
        recipe: weights and rates.
        config: of the network.
        mean: of the training snippets' audio embeddings, float ``[audio_dim]``.
        std: likewise.
        objective: draws tracks and their texts together.
    """

    def __init__(
        self,
        recipe: TextRecipe,
        config: AlignmentConfig,
        mean: Tensor,
        std: Tensor,
        objective: ContrastiveObjective,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = AlignmentNet(config)
        self.network.audio.input.set_statistics(mean, std)
        self._objective = objective

    def training_step(self, batch: AlignmentBatch) -> Tensor:
        """Tracks against texts, and snippets against phrases."""
        network, recipe = self.network, self.recipe
        sound = network.audio(batch.audio, batch.present)
        text = network.text(batch.phrases, batch.places, batch.told)
        scores = network.scores(sound, text).fused
        views = {"audio": sound.whole(), "text": text.whole}
        contrast = self._objective(ContrastiveBatch(views, {("audio", "text"): scores}))
        logits = network.relevance_logits(sound, network.text.phrase_vectors(batch.queries))
        relevance = relevance_loss(logits, batch.heard, batch.counted, negative_weight=recipe.negative_weight)
        self.log("contrast", contrast)
        self.log("relevance", relevance)
        return contrast + recipe.relevance_weight * relevance

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises and falls once in each stage."""
        recipe = self.recipe
        scales = [parameter for parameter in self.parameters() if parameter.ndim == 0]
        weights = [parameter for parameter in self.parameters() if parameter.ndim > 0]
        groups = [
            {"params": weights, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
            {"params": scales, "lr": recipe.scale_learning_rate, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_share(self, step: int) -> float:
        """Compute the share of the highest learning rate: it rises for a tenth of a stage, and falls on a cosine."""
        in_b = step >= self.recipe.stage_a_steps
        done = step - self.recipe.stage_a_steps if in_b else step
        progress = (done + 1) / max(self.recipe.stage_b_steps if in_b else self.recipe.stage_a_steps, 1)
        if progress < _WARM_UP_SHARE:
            return progress / _WARM_UP_SHARE
        return (1 + math.cos(math.pi * min((progress - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE), 1))) / 2
