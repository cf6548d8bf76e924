"""Scenes: short mixes of one or two sounds, encoded once, that training tracks of any length are put together from.

Encoding is nine tenths of the cost of a composed track, so tracks are not mixed anew for every step. A scene is mixed
as samples, with its own level, speed, noise and place on the snippet grid, and encoded by the scorer's own stages; a
track is scenes one after the other. At a joint the first window lacks 0.3 s of what came before, which is noise in
either case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.features.encoders import EncoderSessions
from avdetect.features.encoding import EmbeddingStream, EncodingOptions, Samples
from avdetect.files import make_folder, replacing
from avdetect.text.composer import Composition, MixOptions, compose
from avdetect.text.records import HeardSound, LabelledSound
from avdetect.timebase import Span
from avdetect.training.embeddings import Encoders, fingerprint

__all__ = ["PLAIN", "Scene", "SceneOptions", "audio_only", "encode_samples", "scene_bank"]

_FORMAT = "avdetect-scenes-1"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One moment, encoded."""

    audio: NDArray[np.float16]
    """``(T, audio_dim)``."""
    heard: tuple[HeardSound, ...]
    """Times from the scene's start."""


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """The choices about scenes that are made of a folder of sounds."""

    versions: int = 8
    """Scenes of each sound."""
    overlap_share: float = 0.25
    """Share of the scenes that have a second sound."""
    noise_scenes: int = 60
    """Scenes of nothing but noise."""
    noise_scene_s: float = 12.8
    mix: MixOptions = field(default_factory=lambda: MixOptions(speed=(0.88, 1.14), shortest_cut_s=2.0))
    seed: int = 0


PLAIN = SceneOptions(
    versions=1,
    overlap_share=0.0,
    noise_scenes=0,
    mix=MixOptions(level_dbfs=(-20.0, -20.0), noise_dbfs=(-90.0, -90.0), gap_s=(0.0, 0.0)),
)
"""Every sound on its own, whole and clean, as a short recording would have it."""


def audio_only(encoders: Encoders) -> Encoders:
    """The same without eyes: nothing of a picture is prepared for the snippets."""
    manifest = encoders.manifest.model_copy(update={"visual": None, "motion": None})
    if manifest.audio is None or encoders.sessions.audio is None:
        raise DataError(f"{manifest.name} has no audio encoder, so words cannot be aligned with what it hears.")
    return Encoders(manifest, EncoderSessions(visual=None, motion=None, audio=encoders.sessions.audio))


def encode_samples(samples: NDArray[np.float32], encoders: Encoders) -> NDArray[np.float32]:
    """Encode a sound with the scorer's own stages: ``(T, audio_dim)``.

    Args:
        samples: mono at the rate of the manifest's audio encoder.
        encoders: what ``audio_only`` gave.
    """
    manifest = encoders.manifest
    assert manifest.audio is not None
    heard = Samples(samples, manifest.audio.rate_hz)
    with EmbeddingStream(heard, manifest, encoders.sessions, EncodingOptions(batch_snippets=32)) as embeddings:
        return np.stack([snippet.audio for snippet in embeddings])


def scene_bank(
    sounds: Sequence[LabelledSound],
    options: SceneOptions,
    encoders: Encoders,
    folder: Path,
    *,
    on_done: Callable[[int, int], None] | None = None,
) -> tuple[Scene, ...]:
    """The scenes of ``sounds``: read from ``folder`` where they have been made of the same before.

    Args:
        sounds: at least one.
        options: which scenes.
        encoders: what ``audio_only`` gave.
        folder: where they are kept; made if it is not there.
        on_done: called with the number of scenes made and to make.

    Raises:
        OutputError: the folder cannot be written.
    """
    key = _key(sounds, options, encoders)
    path = folder / f"scenes-{key[:16]}.safetensors"
    kept = _load(path, key)
    if kept is not None:
        return kept
    total = options.versions * len(sounds) + options.noise_scenes
    scenes: list[Scene] = []
    for composition in _compositions(sounds, options, float(encoders.manifest.hop)):
        scenes.append(Scene(encode_samples(composition.samples, encoders).astype(np.float16), composition.heard))
        if on_done is not None:
            on_done(len(scenes), total)
    make_folder(folder)
    _save(scenes, path, key)
    return tuple(scenes)


def _compositions(sounds: Sequence[LabelledSound], options: SceneOptions, hop_s: float) -> Iterator[Composition]:
    rng = np.random.default_rng(options.seed)
    for _ in range(options.versions):
        for sound in sounds:
            moment = [sound]
            if rng.random() < options.overlap_share:
                moment.append(sounds[int(rng.integers(len(sounds)))])
            yield compose([moment], options.mix, rng, whole_s=hop_s)
    for _ in range(options.noise_scenes):
        yield compose([], options.mix, rng, duration_s=options.noise_scene_s, whole_s=hop_s)


def _key(sounds: Sequence[LabelledSound], options: SceneOptions, encoders: Encoders) -> str:
    """Hash all that the scenes depend on."""
    digest = hashlib.sha256(json.dumps([fingerprint(encoders.manifest), asdict(options)]).encode())
    for sound in sounds:
        digest.update(json.dumps([sound.text, sound.label, len(sound.samples)]).encode())
        digest.update(np.ascontiguousarray(sound.samples).tobytes())
    return digest.hexdigest()


def _save(scenes: Sequence[Scene], path: Path, key: str) -> None:
    heard = [[(one.span.start_s, one.span.end_s, one.text, one.label) for one in scene.heard] for scene in scenes]
    arrays = {
        "audio": np.concatenate([scene.audio for scene in scenes]),
        "num_snippets": np.array([len(scene.audio) for scene in scenes], np.int64),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays, metadata={_FORMAT: key, "heard": json.dumps(heard)}))


def _load(path: Path, key: str) -> tuple[Scene, ...] | None:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get(_FORMAT) != key:
                return None
            audio, lengths = file.get_tensor("audio"), file.get_tensor("num_snippets")
    except (OSError, safetensors.SafetensorError):
        return None
    parts = np.split(audio, np.cumsum(lengths)[:-1])
    return tuple(
        Scene(part, tuple(HeardSound(Span(start, end), text, label) for start, end, text, label in heard))
        for part, heard in zip(parts, json.loads(metadata["heard"]), strict=True)
    )
