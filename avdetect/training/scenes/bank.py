"""Scenes -> embeddings, made once, and an endless supply of bags that are put together from them.

Encoding is nearly all of the cost of a scene, so scenes are encoded once, by the scorer's own stages. What is heard and
what is seen are encoded independently, so the sound of one scene and the picture of another make a new scene: a few
hundred scenes of each give tens of thousands of bags, cut anew every time, and in each it is known what is heard and
seen in which snippet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from avdetect.errors import DataError
from avdetect.features.encoders import EncoderSessions, SnippetEncoder
from avdetect.files import replacing
from avdetect.media.packets import AudioChunk, VideoFrame
from avdetect.media.resample import FRACTION_BITS, Axis, Plane, resample
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.stage import through
from avdetect.timebase import Span
from avdetect.training.embeddings import Encoders, VideoEmbeddings, fingerprint
from avdetect.training.scenes.library import FORMAT, PICTURE_RATE_HZ, RATE_HZ, SceneMaterial, load_library
from avdetect.training.scenes.scene import Scene, SceneOptions, compose_scene, picture_at

__all__ = ["EncodedScene", "encode_scene", "encoded_scenes", "inside", "without_appearance"]

_FORMAT_NAME = "avdetect-av-scenes-1"
_PARTS = ("audio", "motion", "heard", "seen")
_LEAST_SHARE = 0.25
"""How much of a snippet an event must fill for the snippet to count as holding it."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedScene:
    """A scene as the detector sees it, and what is so in each snippet."""

    audio: NDArray[np.float16]
    """``(T, Da)``."""
    motion: NDArray[np.float16]
    """``(T, Dm)``."""
    heard: NDArray[np.bool_]
    """Which class is heard in which snippet, ``(T, C)``."""
    seen: NDArray[np.bool_]
    """``(T, C)``."""


def without_appearance(encoders: Encoders) -> Encoders:
    """The same without the appearance encoder: a scene's pictures are luma alone.

    Raises:
        DataError: nothing is left that sees, or there is nothing that hears.
    """
    manifest = encoders.manifest.model_copy(update={"visual": None})
    sessions = encoders.sessions
    if sessions.motion is None or sessions.audio is None:
        raise DataError(f"{manifest.name} needs a motion and an audio encoder to learn from composed scenes.")
    return Encoders(manifest, EncoderSessions(visual=None, motion=sessions.motion, audio=sessions.audio))


def encode_scene(scene: Scene, encoders: Encoders) -> VideoEmbeddings:
    """What the scorer makes of a scene, by its own stages: the visual embedding is motion alone.

    Args:
        scene: whatever happens in it.
        encoders: what ``without_appearance`` gave.
    """
    manifest = encoders.manifest
    assembler = SnippetAssembler(manifest)
    encoder = SnippetEncoder(manifest, encoders.sessions, batch_snippets=16)
    return VideoEmbeddings.collect(list(through(through(_items(scene, encoders), assembler), encoder)))


def _items(scene: Scene, encoders: Encoders) -> Iterator[VideoFrame | AudioChunk]:
    """As a source would yield them: second by second, at 25 pictures a second of which every other one is in a cell."""
    motion, hop = encoders.manifest.motion, encoders.manifest.hop
    assert motion is not None
    rows = Axis.build(FORMAT[0], motion.height, extent=FORMAT[0])
    columns = Axis.build(FORMAT[1], motion.width, extent=FORMAT[1])
    small = np.empty((motion.height, motion.width), np.float32)
    num_cells = int(scene.duration_s * float(PICTURE_RATE_HZ))
    for second in range(int(np.ceil(scene.duration_s))):
        samples = scene.samples[second * RATE_HZ : (second + 1) * RATE_HZ]
        if len(samples):
            yield AudioChunk(Fraction(second), samples)
        first = int(np.ceil(second * float(PICTURE_RATE_HZ)))
        for cell in range(first, min(int(np.ceil((second + 1) * float(PICTURE_RATE_HZ))), num_cells)):
            time = Fraction(2 * cell + 1, 25)
            picture = picture_at(scene, float(time))
            resample(Plane(picture.reshape(-1), *FORMAT, FORMAT[1], 1, 8), rows, columns, small)
            luma = np.rint(small * 0.5**FRACTION_BITS).astype(np.uint8)
            yield VideoFrame(time, hold=hop, duration=Fraction(1, 25), luma=luma, rgb=None)


def inside(spans: Sequence[Span], num_snippets: int, hop_s: float) -> NDArray[np.bool_]:
    """Which snippets a quarter or more of which lies in ``spans``, ``(snippets,)``."""
    starts = np.arange(num_snippets) * hop_s
    filled = np.zeros(num_snippets)
    for span in spans:
        filled += np.clip(np.minimum(starts + hop_s, span.end_s) - np.maximum(starts, span.start_s), 0, None)
    return filled >= _LEAST_SHARE * hop_s


def encoded_scenes(
    material: SceneMaterial,
    options: SceneOptions,
    encoders: Encoders,
    class_names: Sequence[str],
    *,
    num_scenes: int,
    seed: int,
    folder: Path | None = None,
    on_done: Callable[[int, int], None] | None = None,
) -> list[EncodedScene]:
    """Compose scenes and encode them; read from ``folder`` where the same have been made before.

    Args:
        material: what they are composed of; it is decoded only where scenes have to be made.
        options: how.
        encoders: what ``without_appearance`` gave.
        class_names: C of them.
        num_scenes: how many.
        seed: the same seed gives the same scenes.
        folder: where they are kept, made if it is not there; ``None`` to keep nothing.
        on_done: called with the number of scenes made and to make.

    Raises:
        DataError: clips or sounds cannot be read.
    """
    key = _key(material, options, encoders, class_names, num_scenes, seed)
    path = None if folder is None else folder / f"av-scenes-{key[:16]}.safetensors"
    if path is not None and (kept := _load(path, key)) is not None:
        return kept
    library = load_library(material)
    rng = np.random.default_rng(seed)
    scenes = []
    for number in range(1, num_scenes + 1):
        scene = compose_scene(library, options, rng)
        scenes.append(_encoded(scene, encoders, class_names))
        if on_done is not None:
            on_done(number, num_scenes)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(scenes, path, key)
    return scenes


def _encoded(scene: Scene, encoders: Encoders, class_names: Sequence[str]) -> EncodedScene:
    embeddings, hop_s = encode_scene(scene, encoders), encoders.manifest.hop_s
    length = len(embeddings.present)
    heard = np.zeros((length, len(class_names)), np.bool_)
    seen = np.zeros_like(heard)
    heard_labels = {label for label, _ in scene.sounds}
    for column, name in enumerate(class_names):
        target = heard if name in heard_labels else seen
        target[:, column] = inside(scene.spans(name), length, hop_s)
    return EncodedScene(embeddings.audio.astype(np.float16), embeddings.visual.astype(np.float16), heard, seen)


def _key(
    material: SceneMaterial,
    options: SceneOptions,
    encoders: Encoders,
    class_names: Sequence[str],
    num_scenes: int,
    seed: int,
) -> str:
    """A hash of all that the scenes depend on."""
    parts = [
        fingerprint(encoders.manifest),
        repr(options),
        list(class_names),
        num_scenes,
        seed,
        sorted(material.heard_events),
        sorted(material.beds),
    ]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for clip in material.clips:
        digest.update(json.dumps([clip.label, clip.place]).encode() + clip.path.read_bytes())
    for sound in material.sounds:
        digest.update(json.dumps(sound.label).encode() + sound.path.read_bytes())
    return digest.hexdigest()


def _save(scenes: Sequence[EncodedScene], path: Path, key: str) -> None:
    arrays = {
        name: np.concatenate([getattr(scene, name) for scene in scenes])
        for name in ("audio", "motion", "heard", "seen")
    }
    arrays["num_snippets"] = np.array([len(scene.audio) for scene in scenes], np.int64)
    with replacing(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary, metadata={_FORMAT_NAME: key})


def _load(path: Path, key: str) -> list[EncodedScene] | None:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get(_FORMAT_NAME) != key:
                return None
        arrays = safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError):
        return None
    cuts = np.cumsum(arrays["num_snippets"])[:-1]
    parts = [np.split(arrays[name], cuts) for name in _PARTS]
    return [EncodedScene(*scene) for scene in zip(*parts, strict=True)]
