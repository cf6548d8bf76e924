"""Encoded scenes and the bags drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avdetect.errors import UsageError
from avdetect.features.encoders import EncoderSessions
from avdetect.runtime.bundle import Bundle
from avdetect.timebase import Span
from avdetect.training.checkpoint import load_checkpoint
from avdetect.training.config import SceneSource, parse_config
from avdetect.training.data import collate
from avdetect.training.embeddings import Encoders, embed
from avdetect.training.recipe import train
from avdetect.training.scenes.bank import EncodedScene, encode_scene, encoded_scenes, inside, without_appearance
from avdetect.training.scenes.library import Library, SceneMaterial
from avdetect.training.scenes.scene import SceneOptions, compose_scene
from avdetect.training.scenes.scene_files import write_scene
from avdetect.training.scenes.supply import BagMix, SceneBags, scene_bags

CLASSES = ("fight", "gunshot")
OPTIONS = SceneOptions(duration_s=(6.0, 9.0), positive_share=1.0)


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    bundle = Bundle.load(device="cpu", all_encoders=True)
    return Encoders(bundle.manifest, EncoderSessions(bundle.visual, bundle.motion, bundle.audio))


@pytest.fixture(scope="module")
def scenes(scene_material: SceneMaterial, encoders: Encoders) -> list[EncodedScene]:
    return encoded_scenes(scene_material, OPTIONS, without_appearance(encoders), CLASSES, num_scenes=3, seed=0)


def test_a_scene_in_memory_is_what_the_scorer_makes_of_its_file(
    library: Library, encoders: Encoders, tmp_path: Path
) -> None:
    """But for what H.264 and AAC lose."""
    seeing = without_appearance(encoders)
    scene = compose_scene(library, OPTIONS, np.random.default_rng(3))
    write_scene(scene, tmp_path / "scene.mp4")
    from_file, in_memory = embed(tmp_path / "scene.mp4", seeing), encode_scene(scene, seeing)
    length = min(len(from_file.present), len(in_memory.present))
    assert abs(len(from_file.present) - len(in_memory.present)) <= 1
    for name in ("audio", "visual"):
        heard, expected = getattr(from_file, name)[: length - 1], getattr(in_memory, name)[: length - 1]
        cosines = (heard * expected).sum(1) / np.linalg.norm(heard, axis=1) / np.linalg.norm(expected, axis=1)
        assert np.median(cosines) > 0.95, name


def test_a_snippet_counts_as_inside_from_a_quarter_on() -> None:
    spans = [Span(0.64, 1.0), Span(1.92 + 0.64 - 0.15, 1.92 + 0.64)]
    assert inside(spans, 5, 0.64).tolist() == [False, True, False, False, False]
    assert inside([Span(0.0, 0.17)], 1, 0.64).tolist() == [True]


def test_scenes_are_read_again_and_made_anew_when_anything_differs(
    scene_material: SceneMaterial, encoders: Encoders, tmp_path: Path
) -> None:
    made: list[int] = []

    def compose(seed: int) -> list[EncodedScene]:
        made.clear()
        return encoded_scenes(
            scene_material,
            OPTIONS,
            without_appearance(encoders),
            CLASSES,
            num_scenes=2,
            seed=seed,
            folder=tmp_path,
            on_done=lambda done, _: made.append(done),
        )

    first = compose(0)
    assert made == [1, 2]
    again = compose(0)
    assert made == []
    assert all(np.array_equal(one.audio, other.audio) for one, other in zip(first, again, strict=True))
    assert all(np.array_equal(one.seen, other.seen) for one, other in zip(first, again, strict=True))
    compose(1)
    assert made == [1, 2]


def test_a_drawn_bag_has_the_classes_that_are_known_in_it(scenes: list[EncodedScene]) -> None:
    bags = SceneBags(scenes, appearance_dim=7, snippets=(3, 6))
    for seed in range(30):
        bag = bags.draw(np.random.default_rng(seed))
        assert 3 <= len(bag.audio) <= 6
        assert bag.known.shape == (len(bag.audio), 2, len(CLASSES))
        assert torch.equal(bag.labels, bag.known.amax((0, 1)))
        assert not bag.visual[:, :7].any()
        assert not bag.known[:, 0, 0].any(), "a fight has no sound here"
        assert not bag.known[:, 1, 1].any(), "nobody sees a gunshot"


def test_an_epoch_draws_other_bags_than_the_one_before_and_the_same_ones_again(scenes: list[EncodedScene]) -> None:
    mix = BagMix(None, SceneBags(scenes, 0, (3, 6)), num_drawn=4, seed=1)
    assert len(mix) == 4
    assert torch.equal(mix[2, 3].audio, mix[2, 3].audio)
    assert any(
        mix[0, number].audio.shape != mix[1, number].audio.shape
        or not torch.equal(mix[0, number].audio, mix[1, number].audio)
        for number in range(4)
    )


def test_padding_is_not_known(scenes: list[EncodedScene]) -> None:
    bags = SceneBags(scenes, 0, (2, 8))
    batch = collate([bags.draw(np.random.default_rng(seed)) for seed in range(8)])
    for row, length in enumerate(batch.num_instances.tolist()):
        assert (batch.known[row, :length] >= 0).all()
        assert (batch.known[row, length:] == -1).all()


@pytest.mark.parametrize("contrast", [0.0, 0.1])
def test_a_detector_learns_from_scenes_alone(
    material: Path, encoders: Encoders, tmp_path: Path, contrast: float
) -> None:
    config = parse_config(
        {
            "output": tmp_path,
            "class_names": CLASSES,
            "schedule": "fixed",
            "scenes": {
                "clips": material / "clips.jsonl",
                "sounds": material / "sounds.jsonl",
                "num_scenes": 4,
                "bags_per_epoch": 8,
                "snippets": (16, 24),
            },
            "recipe": {
                "name": "product",
                "epochs": 2,
                "batch_bags": 4,
                "only_seen": ["fight"],
                "only_heard": ["gunshot"],
                "contrast_weight": contrast,
                "contrast_between": "events",
                "self_distillation": "stream",
            },
            "run": {"accelerator": "cpu", "progress": False},
        }
    )
    checkpoint = load_checkpoint(train(config, encoders=encoders))
    assert checkpoint.class_names == CLASSES
    assert all(torch.isfinite(value).all() for value in checkpoint.network.state_dict().values())


def test_scenes_alone_do_not_say_which_classes_to_learn(material: Path, tmp_path: Path, encoders: Encoders) -> None:
    scenes = {"clips": material / "clips.jsonl", "sounds": material / "sounds.jsonl"}
    config = parse_config({"output": tmp_path, "scenes": scenes})
    with pytest.raises(UsageError, match="class_names"):
        train(config, encoders=encoders)


def test_a_clip_of_an_unknown_class_is_a_mistake(material: Path, encoders: Encoders) -> None:
    source = SceneSource(clips=material / "clips.jsonl", sounds=material / "sounds.jsonl")
    with pytest.raises(UsageError, match="shows fight; the classes are gunshot"):
        scene_bags(source, encoders, ("gunshot",))
