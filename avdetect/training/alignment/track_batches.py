"""Batches of tracks and stories, put together anew for every step from scenes and recordings that are encoded once.

What a batch holds depends on the seed and its number alone, so training can be repeated and resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from avdetect.text.composer import moments_of
from avdetect.text.phrases import split_phrases, tell
from avdetect.text.records import HeardSound
from avdetect.timebase import Span
from avdetect.training.alignment.scene_bank import Scene
from avdetect.training.config import TextRecipe

__all__ = ["AlignmentBatch", "ComposedBatches", "EmbedPhrases", "PairedRecording", "told"]

EmbedPhrases = Callable[[Sequence[str]], NDArray[np.float32]]
"""Phrases -> embeddings of unit length, ``(N, text_dim)``."""

_SHARE_WITH_GAP = 0.6
_LEAST_HEARD = 0.3
"""Share of a snippet from which on a phrase counts as heard in it. Not heard is where there is none of it."""
_FEWEST_TRACKS = 8


class AlignmentBatch(NamedTuple):
    """B tracks of at most T snippets, their texts of at most N phrases, and P phrases to look for in all of them."""

    audio: Tensor
    """Float ``[B, T, audio_dim]``."""
    present: Tensor
    """Bool ``[B, T]``."""
    phrases: Tensor
    """Float ``[B, N, text_dim]``."""
    places: Tensor
    """int64 ``[B, N]``."""
    told: Tensor
    """Bool ``[B, N]``: not padding."""
    queries: Tensor
    """Float ``[P, text_dim]``: descriptions and classes of the sounds."""
    heard: Tensor
    """Bool ``[P, B, T]``."""
    counted: Tensor
    """Bool ``[P, B, T]``: whether it is known."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedRecording:
    """A recording with a text of its own."""

    audio: NDArray[np.float16]
    """``(T, audio_dim)``."""
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """The material of one row of a batch."""

    audio: NDArray[np.float16]
    text: str
    heard: tuple[HeardSound, ...] | None
    """The sounds in it; None where they are not known."""


class ComposedBatches(Dataset[AlignmentBatch]):
    """The batches of a run: those of stage A, then those of stage B.

    Args:
        scenes: to compose tracks of; at least one with a sound, unless there are pairs.
        pairs: recordings with texts of their own.
        embed: embeds phrases.
        recipe: how many batches of what.
        hop_s: of a snippet.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        pairs: Sequence[PairedRecording],
        embed: EmbedPhrases,
        recipe: TextRecipe,
        *,
        hop_s: float,
        seed: int,
    ) -> None:
        self._scenes = [scene for scene in scenes if scene.heard]
        self._noise = [scene for scene in scenes if not scene.heard]
        self._pairs = pairs
        self._embed = embed
        self._recipe = recipe
        self._hop_s = hop_s
        self._seed = seed

    def __len__(self) -> int:
        return self._recipe.stage_a_steps + self._recipe.stage_b_steps

    def __getitem__(self, step: int) -> AlignmentBatch:
        rng = np.random.default_rng([self._seed, step])
        with_order = step >= self._recipe.stage_a_steps
        return self._batch(self._tracks(rng, with_order), with_order)

    def _tracks(self, rng: np.random.Generator, with_order: bool) -> list[_Track]:
        """Draw as many as the recipe's budget of moments allows; in stage B each composed one with its twin."""
        recipe = self._recipe
        fewest = 2 if with_order else 1
        most = max(int(math.exp(rng.uniform(math.log(fewest), math.log(recipe.max_moments + 1)))), fewest)
        wanted = min(max(recipe.batch_moments // most, _FEWEST_TRACKS), recipe.batch_tracks)
        tracks: list[_Track] = []
        while len(tracks) < wanted:
            if self._pairs and (not self._scenes or rng.random() < recipe.pair_share):
                pair = self._pairs[int(rng.integers(len(self._pairs)))]
                tracks.append(_Track(pair.audio, pair.text, None))
                continue
            chosen = rng.integers(len(self._scenes), size=rng.integers(fewest, most + 1))
            scenes = [self._scenes[int(at)] for at in chosen]
            tracks.append(self._track(scenes, rng))
            if with_order:
                twin = _twin(scenes, rng)
                tracks += [] if twin is None else [self._track(twin, rng)]
        return tracks[:wanted]

    def _track(self, scenes: Sequence[Scene], rng: np.random.Generator) -> _Track:
        """The scenes one after the other, with silence before some, up to the longest that a track may be."""
        most = int(self._recipe.max_track_s / self._hop_s)
        parts: list[NDArray[np.float16]] = []
        heard: list[HeardSound] = []
        length = 0
        for scene in scenes:
            gap = int(rng.exponential(self._recipe.gap_snippets)) if rng.random() < _SHARE_WITH_GAP else 0
            silence = self._silence(gap, rng)
            if parts and length + len(silence) + len(scene.audio) > most:
                break
            parts += [silence, scene.audio]
            length += len(silence)
            offset_s = length * self._hop_s
            heard += [_later(one, offset_s) for one in scene.heard]
            length += len(scene.audio)
        return _Track(np.concatenate(parts), tell(moments_of(heard), rng), tuple(heard))

    def _silence(self, num_snippets: int, rng: np.random.Generator) -> NDArray[np.float16]:
        if not num_snippets or not self._noise:
            return self._scenes[0].audio[:0]
        noise = self._noise[int(rng.integers(len(self._noise)))].audio
        return np.resize(noise, (num_snippets, noise.shape[1]))

    def _batch(self, tracks: Sequence[_Track], with_order: bool) -> AlignmentBatch:
        audio = pad_sequence([torch.from_numpy(track.audio).float() for track in tracks], batch_first=True)
        lengths = torch.tensor([len(track.audio) for track in tracks])
        present = torch.arange(audio.shape[1]) < lengths[:, None]
        phrases, places, said = told([track.text for track in tracks], self._embed, with_order=with_order)
        names, heard, counted = _queries(tracks, audio.shape[1], self._hop_s)
        return AlignmentBatch(
            audio=audio,
            present=present,
            phrases=phrases,
            places=places,
            told=said,
            queries=torch.from_numpy(self._embed(names)) if names else phrases.new_zeros(0, phrases.shape[-1]),
            heard=torch.from_numpy(heard),
            counted=torch.from_numpy(counted) & present,
        )


def told(texts: Sequence[str], embed: EmbedPhrases, *, with_order: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Texts as the text tower takes them.

    Args:
        texts: each with at least one phrase.
        embed: embeds phrases.
        with_order: whether places are told; else they are all the same.

    Returns:
        Phrases ``[B, N, text_dim]``, places int64 ``[B, N]`` and which are no padding, bool ``[B, N]``.
    """
    stories = [split_phrases(text) for text in texts]
    embeddings = torch.from_numpy(embed([phrase.text for story in stories for phrase in story]))
    lengths = [len(story) for story in stories]
    phrases = pad_sequence(list(torch.split_with_sizes(embeddings, lengths)), batch_first=True)
    places = [torch.tensor([phrase.place if with_order else 0 for phrase in story]) for story in stories]
    said = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return phrases, pad_sequence(places, batch_first=True), said


def _twin(scenes: Sequence[Scene], rng: np.random.Generator) -> list[Scene] | None:
    """Exchange two of the scenes; None where they sound alike."""
    first, second = rng.choice(len(scenes), size=2, replace=False)
    labels = [{one.label or one.text for one in scenes[at].heard} for at in (first, second)]
    if labels[0] & labels[1]:
        return None
    twin = list(scenes)
    twin[first], twin[second] = twin[second], twin[first]
    return twin


def _queries(
    tracks: Sequence[_Track], num_snippets: int, hop_s: float
) -> tuple[list[str], NDArray[np.bool_], NDArray[np.bool_]]:
    """The descriptions and classes of all sounds; where each is heard, and where that is known, ``(P, B, T)``.

    A sound that bears another description of the same class may or may not fit a description: it is not counted.
    """
    sounds = [(row, one) for row, track in enumerate(tracks) for one in track.heard or ()]
    texts = {text: index for index, text in enumerate(dict.fromkeys(one.text for _, one in sounds))}
    labels = dict.fromkeys(one.label for _, one in sounds if one.label is not None)
    label_index = {label: len(texts) + index for index, label in enumerate(labels)}
    of_label: dict[str | None, list[int]] = {label: [] for label in (None, *labels)}
    for text, label in {one.text: one.label for _, one in sounds}.items():
        of_label[label].append(texts[text])
    names = [*texts, *labels]
    shares = [_shares(one.span, num_snippets, hop_s) for _, one in sounds]
    heard = np.zeros((len(names), len(tracks), num_snippets), np.bool_)
    for (row, one), share in zip(sounds, shares, strict=True):
        fitting = [texts[one.text], *([] if one.label is None else [label_index[one.label]])]
        heard[fitting, row] |= share >= _LEAST_HEARD
    counted = np.zeros_like(heard)
    counted[:, [row for row, track in enumerate(tracks) if track.heard is not None]] = True
    for (row, one), share in zip(sounds, shares, strict=True):
        alike = [texts[one.text]] if one.label is None else [*of_label[one.label], label_index[one.label]]
        # Part of it is in the snippet, or all of a sound that may fit the description as well as its own.
        counted[alike, row] &= (share == 0) | heard[alike, row]
    return names, heard, counted


def _shares(span: Span, num_snippets: int, hop_s: float) -> NDArray[np.float64]:
    """Compute the share of each snippet, or of the sound where that is shorter, that the sound covers: ``(T,)``."""
    starts = np.arange(num_snippets) * hop_s
    covered = np.minimum(starts + hop_s, span.end_s) - np.maximum(starts, span.start_s)
    return np.asarray(np.clip(covered / min(hop_s, span.duration_s), 0, 1))


def _later(sound: HeardSound, seconds: float) -> HeardSound:
    return HeardSound(Span(sound.span.start_s + seconds, sound.span.end_s + seconds), sound.text, sound.label)
