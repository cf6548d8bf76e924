"""An endless supply of bags: the sound of one encoded scene, the picture of another, cut anew every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from avdetect.errors import UsageError
from avdetect.training.config import SceneSource
from avdetect.training.data import Bag, BagDataset
from avdetect.training.embeddings import Encoders
from avdetect.training.scenes.bank import EncodedScene, encoded_scenes, without_appearance
from avdetect.training.scenes.library import SceneMaterial
from avdetect.training.scenes.material import read_clips, read_sound_files
from avdetect.training.scenes.scene import SceneOptions

__all__ = ["BagMix", "SceneBags", "scene_bags"]


@dataclass(frozen=True, slots=True, eq=False)
class SceneBags:
    """Bags drawn from encoded scenes.

    A bag's label is what is heard or seen anywhere in it; ``known`` says what is heard and seen in each snippet.
    """

    scenes: Sequence[EncodedScene]
    appearance_dim: int
    """Numbers of appearance that the detector's visual embedding begins with; they are zero here."""
    snippets: tuple[int, int]
    """How long a bag is, shortest and longest; no longer than its scenes."""
    paired_share: float = 0.5
    """How many bags have sound and picture of one scene, so that they belong together."""

    def draw(self, rng: np.random.Generator) -> Bag:
        """One bag."""
        heard = self.scenes[int(rng.integers(len(self.scenes)))]
        seen = heard
        if rng.random() >= self.paired_share:
            seen = self.scenes[int(rng.integers(len(self.scenes)))]
        longest = min(len(heard.audio), len(seen.motion))
        length = min(int(rng.integers(self.snippets[0], self.snippets[1] + 1)), longest)
        first_heard = int(rng.integers(len(heard.audio) - length + 1))
        first_seen = first_heard if seen is heard else int(rng.integers(len(seen.motion) - length + 1))
        audio = torch.from_numpy(heard.audio[first_heard : first_heard + length].astype(np.float32))
        motion = torch.from_numpy(seen.motion[first_seen : first_seen + length].astype(np.float32))
        known = np.stack(
            (heard.heard[first_heard : first_heard + length], seen.seen[first_seen : first_seen + length]), 1
        ).astype(np.float32)
        return Bag(
            audio,
            torch.cat((torch.zeros(length, self.appearance_dim), motion), 1),
            torch.ones(length, 2, dtype=torch.bool),
            torch.from_numpy(known.max((0, 1))),
            -1,
            torch.from_numpy(known),
        )


class BagMix(Dataset[Bag]):
    """The bags of videos, and as many drawn ones as are asked for. Drawn bags differ from epoch to epoch.

    Args:
        videos: bags of videos, or ``None``.
        drawn: the supply, or ``None``.
        num_drawn: bags to draw for an epoch.
        seed: with the epoch and the bag's number, decides what is drawn.
    """

    def __init__(self, videos: BagDataset | None, drawn: SceneBags | None, *, num_drawn: int, seed: int) -> None:
        self._videos = videos
        self._drawn = drawn
        self._num_drawn = num_drawn if drawn is not None else 0
        self._num_videos = 0 if videos is None else len(videos)
        self._seed = seed

    def __len__(self) -> int:
        return self._num_videos + self._num_drawn

    def __getitem__(self, key: int | tuple[int, int]) -> Bag:
        """A bag by its number, or by epoch and number."""
        epoch, number = key if isinstance(key, tuple) else (0, key)
        if number < self._num_videos:
            assert self._videos is not None
            return self._videos[number]
        assert self._drawn is not None
        return self._drawn.draw(np.random.default_rng((self._seed, epoch, number)))

    @property
    def labels(self) -> Tensor:
        """Of the first epoch's bags, float ``[bags, C]``."""
        return torch.stack([self[number].labels for number in range(len(self))])


def scene_bags(
    source: SceneSource,
    encoders: Encoders,
    class_names: Sequence[str],
    *,
    on_done: Callable[[int, int], None] | None = None,
) -> SceneBags:
    """Compose and encode the scenes of ``source``.

    Args:
        source: what they are composed of, and how many.
        encoders: of the bundle that the network will run in.
        class_names: the detector's classes; other sounds are harmless.
        on_done: called with the number of scenes made and to make.

    Raises:
        DataError: clips or sounds cannot be read.
        UsageError: nothing can be composed of them.
    """
    clips = [one for one in read_clips(source.clips) if one.split != "val" and one.place not in source.without_places]
    sounds = [one for one in read_sound_files(source.sounds, source.sources) if one.split != "val"]
    unknown = {str(clip.label) for clip in clips if clip.label is not None} - set(class_names)
    if unknown:
        raise UsageError(
            f"{source.clips} shows {', '.join(sorted(unknown))}; the classes are {', '.join(class_names)}."
        )
    heard = frozenset(class_names) & {sound.label for sound in sounds}
    scenes = encoded_scenes(
        SceneMaterial(tuple(clips), tuple(sounds), heard),
        SceneOptions(positive_share=source.positive_share, varied_share=source.varied_share),
        without_appearance(encoders),
        class_names,
        num_scenes=source.num_scenes,
        seed=source.seed,
        folder=source.embeddings,
        on_done=on_done,
    )
    manifest = encoders.manifest
    appearance_dim = manifest.visual_dim - (manifest.motion.embedding_dim if manifest.motion else 0)
    return SceneBags(scenes, appearance_dim, source.snippets)
