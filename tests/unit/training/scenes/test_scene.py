"""Composed scenes: what is said of them is what is in them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from avdetect.errors import UsageError
from avdetect.training.scenes.library import RATE_HZ, Library
from avdetect.training.scenes.scene import Scene, SceneOptions, compose_scene, picture_at

SEEDS = range(12)
SHORT = SceneOptions(duration_s=(8.0, 20.0), positive_share=1.0)


def scene_of(library: Library, seed: int, options: SceneOptions = SHORT) -> Scene:
    return compose_scene(library, options, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_shots_follow_each_other_without_a_hole_from_beginning_to_end(library: Library, seed: int) -> None:
    scene = scene_of(library, seed)
    borders = [(shot.span.start_s, shot.span.end_s) for shot in scene.shots]
    assert borders[0][0] == 0
    assert borders[-1][1] == scene.duration_s
    assert all(before[1] == after[0] for before, after in itertools.pairwise(borders))
    assert len(scene.samples) == round(scene.duration_s * RATE_HZ)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fight_is_shown_exactly_where_a_fight_is_said_to_be_seen(library: Library, seed: int) -> None:
    scene = scene_of(library, seed)
    said = scene.spans("fight")
    for shot in scene.shots:
        middle = (shot.span.start_s + shot.span.end_s) / 2
        assert (shot.clip.label == "fight") == any(span.start_s <= middle < span.end_s for span in said)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_event_is_a_hull_of_its_parts_and_lies_in_the_scene(library: Library, seed: int) -> None:
    for event in scene_of(library, seed).events:
        spans = [span for _, span in event.parts]
        assert event.span.start_s == min(span.start_s for span in spans)
        assert event.span.end_s == max(span.end_s for span in spans)
        assert event.span.start_s >= 0
        assert len(event.parts) == (2 if event.modality == "audio-visual" else 1)


def test_a_normal_scene_has_no_event_but_as_many_sounds(library: Library) -> None:
    scene = scene_of(library, 0, dataclasses.replace(SHORT, positive_share=0.0))
    assert not scene.events
    assert {label for label, _ in scene.sounds} <= {"ambient", "speech"}
    assert scene.sounds
    assert all(shot.clip.label is None for shot in scene.shots)


def test_the_same_seed_gives_the_same_scene_and_another_another(library: Library) -> None:
    one, same, other = scene_of(library, 4), scene_of(library, 4), scene_of(library, 5)
    assert np.array_equal(one.samples, same.samples)
    assert one.events == same.events
    assert len(other.samples) != len(one.samples) or not np.array_equal(other.samples, one.samples)


def test_a_heard_event_is_louder_than_what_is_around_it(library: Library) -> None:
    options = dataclasses.replace(
        SHORT, modality_shares=(1.0, 0.0, 0.0), num_events=(1, 1), snr_db=(20.0, 20.0), seconds_per_sound=(1e3, 1e3)
    )
    scene = scene_of(library, 1, options)
    (event,) = scene.events
    begin, end = round(event.span.start_s * RATE_HZ), round(event.span.end_s * RATE_HZ)
    inside = np.abs(scene.samples[begin:end]).max()
    outside = np.abs(np.concatenate((scene.samples[:begin], scene.samples[end:]))).max()
    assert inside > 2 * outside


def test_a_mirrored_and_shifted_shot_shows_the_clip_so(library: Library) -> None:
    scene = scene_of(library, 2)
    shot = dataclasses.replace(scene.shots[0], mirrored=True, shift=(5, -7), gain=1.0, offset=0.0)
    scene = dataclasses.replace(scene, shots=(shot, *scene.shots[1:]))
    clip = shot.clip.luma[shot.first_picture]
    shown = picture_at(scene, 0.0)
    assert np.array_equal(shown[5:, :-7], clip[:-5, ::-1][:, 7:])
    assert not shown[:5].any()


def test_a_range_that_falls_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="snr_db must be a range from low to high, got 3 to 1"):
        SceneOptions(snr_db=(3.0, 1.0))
