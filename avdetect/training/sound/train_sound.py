"""Labelled sounds -> an encoder of sound that was trained for mixtures: START READING HERE.

read_sound_files      which sounds there are, of which class and from which recording
SoundBank             all of them in memory
mixed_scene           a scene of several sounds at once, and what is heard when
SoundNet              the base's encoder with a small network on top
SoundModule           the loss of a step, and the average over steps
Trainer               Lightning: devices, saved states, the log
measured              how well the encoder tells sounds that were held out, and how much of the original is best kept
with_weights          the trained weights, averaged with the original ones, in the encoder's graph
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from torch.utils.data import DataLoader, Dataset, Sampler

from avdetect.errors import DataError, MediaError, UsageError
from avdetect.evaluation.ranking import average_precision
from avdetect.files import make_folder
from avdetect.manifest import Manifest
from avdetect.text.records import read_waveform
from avdetect.training.graph_module import GraphModule, averaged, with_weights
from avdetect.training.progress import MetricsLog
from avdetect.training.scenes.material import SoundFile, fold_of, read_sound_files
from avdetect.training.sound.config import SoundRecipe, SoundTrainConfig
from avdetect.training.sound.mixtures import Grid, MixtureOptions, SoundBank, mixed_scene
from avdetect.training.sound.sound_module import SceneBatch, SoundModule, SoundNet
from avdetect.training.trainer import SeedEveryStep, interruptible, load_state, quiet_lightning

__all__ = ["Divided", "TrainedSound", "divide", "grid_of", "measured", "sound_bank", "states_folder", "train_sound"]

_STATISTICS_BATCHES = 4
_SHARES = (0.0, 0.2, 0.3, 0.5, 1.0)
"""Of the original weights, that are measured."""
_MEASURED_SEED = 1_000_003
_MEASURED_SNIPPETS = 16


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSound:
    """What has become of the encoder."""

    graph: onnx.ModelProto
    """With weights averaged over the steps, and with the original ones."""
    notes: Mapping[str, Any]
    """How it came about: data, recipe, and how good it is."""


class Divided(NamedTuple):
    """The sounds of a list."""

    train: tuple[SoundFile, ...]
    held_out: tuple[SoundFile, ...]


def train_sound(
    config: SoundTrainConfig,
    encoder: onnx.ModelProto,
    manifest: Manifest,
    *,
    on_read: Callable[[int, int], None] | None = None,
) -> TrainedSound:
    """Train the audio encoder of a bundle on, end to end, on mixtures of labelled sounds.

    The same config, encoder and sounds give the same numbers on one thread of the same machine, also when the run was
    interrupted and resumed in between.

    Args:
        config: all choices.
        encoder: the graph of the bundle's audio encoder.
        manifest: the bundle's.
        on_read: called with the number of sounds read and to read.

    Raises:
        DataError: the manifest of sounds has mistakes, or sounds cannot be read, or have fewer than two classes.
        UsageError: choices that contradict each other.
        BundleError: the encoder cannot be trained on.
        OutputError: the states cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is there to be resumed.
    """
    recipe, grid = config.recipe, grid_of(manifest)
    files = divide(read_sound_files(config.manifest, config.sources), config)
    class_names = tuple(sorted({one.label for one in files.train}))
    if len(class_names) < 2:
        raise DataError(
            f"{config.manifest}: an encoder is trained to tell classes apart, and all sounds to train on are of the "
            f"class {class_names[0]}."
        )
    events = recipe.events or tuple(name for name in manifest.class_names if name in class_names)
    unknown = sorted(set(recipe.events) - set(class_names))
    if unknown:
        raise UsageError(f"recipe.events names {', '.join(unknown)}, and {config.manifest} has no such sounds.")
    last = _last_state(config)
    make_folder(states_folder(config.output))
    bank = sound_bank(files.train, class_names, grid, recipe, events, on_read)

    lightning.seed_everything(config.run.seed, workers=True, verbose=False)
    assert manifest.audio is not None  # there is a grid
    network = SoundNet(GraphModule(encoder), len(class_names), recipe, manifest.audio.embedding_dim)
    scenes = _Batches(bank, grid, recipe, config.run.seed)
    original = {name: weight.detach().clone() for name, weight in network.encoder.weights_by_name.items()}
    _set_statistics(network, scenes)
    module = SoundModule(network, recipe)
    _fit(config, module, scenes, last)
    kept = module.average.module.cpu().eval()
    assert isinstance(kept, SoundNet)
    notes = {
        "classes": list(class_names),
        "events": list(bank.events),
        "num_sounds": len(files.train),
        "num_held_out": len(files.held_out),
        "recipe": recipe.model_dump(mode="json"),
        "seed": config.run.seed,
        "held_out": _held_out_notes(config, files.held_out, kept, original, bank, grid),
    }
    weights = averaged(kept.encoder.weights_by_name, original, recipe.keep_original)
    return TrainedSound(with_weights(encoder, weights), json.loads(json.dumps(notes)))


def _fit(config: SoundTrainConfig, module: SoundModule, scenes: _Batches, last: Path | None) -> None:
    """Do the steps that are left to do."""
    recipe = config.recipe
    steps = _Steps(recipe.steps, recipe.save_steps)
    if last is not None:
        state = load_state(last)
        num_done = int(state["global_step"])
        if num_done >= recipe.steps:
            module.load_state_dict(state["state_dict"])
            return
        steps.set_epoch(num_done // recipe.save_steps)  # Lightning says it only after it has begun to iterate
    loader = DataLoader(scenes, batch_size=None, sampler=steps, num_workers=config.run.loader_workers)
    with quiet_lightning(), interruptible():
        _trainer(config).fit(module, loader, ckpt_path=last, weights_only=True)


def grid_of(manifest: Manifest) -> Grid:
    """How the bundle cuts sound into snippets.

    Raises:
        UsageError: it has no audio encoder.
    """
    if manifest.audio is None:
        raise UsageError(f"the bundle {manifest.name} has no audio encoder to train on: give another one with --base.")
    spec = manifest.audio
    return Grid(spec.rate_hz, round(manifest.hop * spec.rate_hz), spec.window_samples)


def divide(sounds: Sequence[SoundFile], config: SoundTrainConfig) -> Divided:
    """What is trained on and what is measured on: a fold of the origins, or the split ``val``.

    Raises:
        UsageError: there is no such fold, or nothing is left to train on.
    """
    if config.held_out is None:
        divided = Divided(
            tuple(one for one in sounds if one.split != "val"), tuple(one for one in sounds if one.split == "val")
        )
    else:
        if config.held_out.fold >= config.held_out.num_folds:
            raise UsageError(
                f"there is no fold {config.held_out.fold} of {config.held_out.num_folds}: folds count from 0."
            )
        folds = fold_of(
            [one.origin for one in sounds], [one.label for one in sounds], num_folds=config.held_out.num_folds
        )
        is_out = [fold == config.held_out.fold for fold in folds.tolist()]
        divided = Divided(
            tuple(one for one, out in zip(sounds, is_out, strict=True) if not out),
            tuple(one for one, out in zip(sounds, is_out, strict=True) if out),
        )
    if not divided.train:
        raise UsageError(f"{config.manifest}: no sound is left to train on.")
    return divided


def sound_bank(
    files: Sequence[SoundFile],
    class_names: Sequence[str],
    grid: Grid,
    recipe: SoundRecipe,
    events: Sequence[str],
    on_read: Callable[[int, int], None] | None = None,
) -> SoundBank:
    """Read the sounds.

    Raises:
        DataError: some cannot be read; the message names them all.
    """
    sounds: list[tuple[str, NDArray[np.float32]]] = []
    faults: list[str] = []
    for number, file in enumerate(files, 1):
        try:
            sounds.append((file.label, read_waveform(file.path, grid.rate_hz)))
        except MediaError as error:
            faults.append(f"  {error}")
        if on_read is not None:
            on_read(number, len(files))
    if faults:
        raise DataError("\n".join([f"{len(faults)} of {len(files)} sounds could not be read:", *faults]))
    return SoundBank.of(sounds, class_names, events=events, beds=recipe.beds)


def measured(network: SoundNet, bank: SoundBank, grid: Grid, *, num_scenes: int) -> dict[str, float]:
    """Average precision over the snippets of scenes of sounds as they are: of any event, and of each.

    The scenes are the same ones whenever the sounds are.
    """
    options = MixtureOptions(
        num_snippets=_MEASURED_SNIPPETS,
        num_sounds=(0, 4),
        event_share=0.4,
        snr_db=(-3.0, 15.0),
        variation=False,
        synthesised_sirens=0.0,
    )
    logits, heard, counted = [], [], []
    network.eval()
    with torch.no_grad():
        for number in range(num_scenes):
            scene = mixed_scene(bank, grid, options, np.random.default_rng((_MEASURED_SEED, number)))
            logits.append(network(torch.from_numpy(scene.windows)[None])[0].numpy())
            heard.append(scene.heard)
            counted.append(scene.counted)
    places = [bank.class_names.index(name) for name in bank.events]
    scores = np.concatenate(logits)[:, places]
    truth, certain = np.concatenate(heard)[:, places] > 0, np.concatenate(counted)[:, places] > 0
    in_any = np.asarray(truth.any(axis=1))
    surely = in_any | certain.all(axis=1)
    figures = {"any": average_precision(in_any[surely], scores.max(axis=1)[surely])}
    for column, name in enumerate(bank.events):
        kept = certain[:, column]
        figures[name] = average_precision(truth[kept, column], scores[kept, column])
    return {name: round(value, 4) for name, value in figures.items()}


def states_folder(output: Path) -> Path:
    """Where what is needed to resume is kept: beside the bundle that will be written."""
    return output.with_name(f"{output.name}.training")


class _Batches(Dataset[SceneBatch]):
    """The batch of every step; a step's does not depend on those before it."""

    def __init__(self, bank: SoundBank, grid: Grid, recipe: SoundRecipe, seed: int) -> None:
        self._bank, self._grid, self._recipe, self._seed = bank, grid, recipe, seed
        self._options = MixtureOptions(
            num_snippets=recipe.scene_snippets,
            num_sounds=recipe.num_sounds,
            event_share=recipe.event_share,
            snr_db=recipe.snr_db,
            synthesised_sirens=recipe.synthesised_sirens,
        )

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, step: int) -> SceneBatch:
        rng = np.random.default_rng((self._seed, step))
        scenes = [mixed_scene(self._bank, self._grid, self._options, rng) for _ in range(self._recipe.batch_scenes)]
        return SceneBatch(*(torch.from_numpy(np.stack(part)) for part in zip(*scenes, strict=True)))


class _Steps(Sampler[int]):
    """The steps of an epoch; Lightning says which epoch it is."""

    def __init__(self, num_steps: int, epoch_steps: int) -> None:
        self._num_steps, self._epoch_steps = num_steps, epoch_steps
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return min(self._epoch_steps, self._num_steps - self._epoch * self._epoch_steps)

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * self._epoch_steps
        return iter(range(first, first + len(self)))


def _set_statistics(network: SoundNet, scenes: _Batches) -> None:
    network.eval()
    with torch.no_grad():
        batches = [scenes[len(scenes) + number].windows.flatten(0, 1) for number in range(_STATISTICS_BATCHES)]
        network.head.set_statistics(torch.cat([network.embed(one) for one in batches]))
    network.train()


def _held_out_notes(
    config: SoundTrainConfig,
    files: Sequence[SoundFile],
    network: SoundNet,
    original: Mapping[str, torch.Tensor],
    trained_on: SoundBank,
    grid: Grid,
) -> dict[str, Any] | None:
    """Average precision by how much of the original weights is kept, with the same network on top."""
    if not config.measured_scenes or not any(one.label in trained_on.events for one in files):
        return None
    known = [one for one in files if one.label in trained_on.class_names]
    events = [name for name in trained_on.events if any(one.label == name for one in known)]
    bank = sound_bank(known, trained_on.class_names, grid, config.recipe, events)
    trained = {name: weight.detach().clone() for name, weight in network.encoder.weights_by_name.items()}
    by_share = {}
    for share in sorted({*_SHARES, config.recipe.keep_original}):
        _set_weights(network, averaged(trained, original, share))
        by_share[f"{share:g}"] = measured(network, bank, grid, num_scenes=config.measured_scenes)
    _set_weights(network, trained)
    return {
        "what": f"fold {config.held_out.fold} of {config.held_out.num_folds}" if config.held_out else "split val",
        "num_scenes": config.measured_scenes,
        "average_precision_by_share_of_original_weights": by_share,
    }


def _set_weights(network: SoundNet, weights: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, weight in network.encoder.weights_by_name.items():
            weight.copy_(weights[name])


def _last_state(config: SoundTrainConfig) -> Path | None:
    """What an interrupted run left, if it is to be resumed.

    Raises:
        UsageError: there is none, or it was trained with other settings.
    """
    if not config.run.resume:
        return None
    last = states_folder(config.output) / "last.ckpt"
    if not last.is_file():
        raise UsageError(f"there is nothing to resume: {last} is not there.")
    mine, theirs = config.recipe.model_dump(mode="json"), load_state(last).get("recipe", {})
    # What is kept of the original is decided when all steps are done, and may be decided anew.
    changed = sorted(name for name in theirs if theirs[name] != mine.get(name) and name != "keep_original")
    if changed:
        values = ", ".join(f"recipe.{name}={theirs[name]}" for name in changed)
        raise UsageError(f"{last} was trained with other settings: resume with {values}, or train anew.")
    return last


def _trainer(config: SoundTrainConfig) -> lightning.Trainer:
    run, folder = config.run, states_folder(config.output)
    callbacks: list[Callback] = [
        ModelCheckpoint(folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True),
        SeedEveryStep(run.seed),
        MetricsLog(folder / "metrics.csv", None, None),
    ]
    if run.progress:
        callbacks.append(RichProgressBar(leave=False))
    return lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        precision=run.precision,
        max_epochs=-(-config.recipe.steps // config.recipe.save_steps),
        gradient_clip_val=config.recipe.gradient_norm,
        deterministic="warn",
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=run.progress,
        enable_model_summary=False,
        logger=False,
        callbacks=callbacks,
    )
