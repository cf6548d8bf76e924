"""What scenes are composed of, and how it is divided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdetect.errors import DataError, UsageError
from avdetect.training.scenes.library import SceneMaterial, load_library
from avdetect.training.scenes.material import fold_of, read_clips, read_sound_files

groups = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(("fight", "normal"))), min_size=1)


@given(things=groups, num_folds=st.integers(1, 5), seed=st.integers(0, 3))
def test_no_place_is_in_two_folds(things: Sequence[tuple[str, str]], num_folds: int, seed: int) -> None:
    places, kinds = [place for place, _ in things], [kind for _, kind in things]
    folds = fold_of(places, kinds, num_folds=num_folds, seed=seed)
    assert len(folds) == len(things)
    assert all(0 <= fold < num_folds for fold in folds)
    for place in set(places):
        assert len({int(fold) for one, fold in zip(places, folds, strict=True) if one == place}) == 1


def test_every_fold_has_its_share_of_each_class() -> None:
    places = [f"place {number // 4}" for number in range(80)]
    kinds = ["fight" if number % 4 == 0 else "normal" for number in range(80)]
    folds = fold_of(places, kinds)
    for fold in range(5):
        of_fold = [kind for kind, one in zip(kinds, folds, strict=True) if one == fold]
        assert (of_fold.count("fight"), of_fold.count("normal")) == (4, 12)


def test_a_list_of_clips_says_all_that_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "here.mp4").write_bytes(b"")
    rows = [{"file": "here.mp4", "class": "fight"}, {"file": "gone.mp4", "class": "normal", "place": "yard"}, 3]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with pytest.raises(DataError) as raised:
        read_clips(tmp_path / "clips.jsonl")
    text = str(raised.value)
    assert "line 1: place: Field required" in text
    assert "line 2: there is no file" in text
    assert "line 3: expected a JSON object" in text


def test_a_clip_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no list at .*nothing.jsonl"):
        read_clips(tmp_path / "nothing.jsonl")


def test_variants_of_a_recording_have_one_origin_and_entries_of_an_archive_each_its_own(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / f"{name}.ogg").write_bytes(b"")
    (tmp_path / "SOURCES.md").write_text(
        "| id | split | class | origin | path |\n|---|---|---|---|---|\n"
        "| a | train | door | pack | doors/slam1.wav |\n| b | train | door | pack | doors/slam2.wav |\n"
        "| c | train | door | pack | all.cat entry 7 |\n| d | train | door | pack | all.cat entry 8 |\n",
        "utf-8",
    )
    (tmp_path / "sounds.jsonl").write_text(
        "".join(json.dumps({"file": f"{name}.ogg", "class": "door"}) + "\n" for name in "abcde"), "utf-8"
    )
    sounds = read_sound_files(tmp_path / "sounds.jsonl", tmp_path / "SOURCES.md")
    a, b, c, d, e = (sound.origin for sound in sounds)
    assert a == b
    assert len({a, c, d, e}) == 4


def test_without_a_quiet_clip_nothing_can_be_composed(material: Path) -> None:
    clips = tuple(clip for clip in read_clips(material / "clips.jsonl") if clip.label is not None)
    sounds = read_sound_files(material / "sounds.jsonl")
    with pytest.raises(UsageError, match="clips in which nothing happens"):
        load_library(SceneMaterial(clips, sounds, frozenset({"gunshot"})))


def test_clips_that_cannot_be_read_are_all_named(material: Path, tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).write_bytes(b"no video")
    (tmp_path / "clips.jsonl").write_text(
        "".join(
            json.dumps({"file": name, "class": "normal", "place": "yard"}) + "\n" for name in ("one.mp4", "two.mp4")
        ),
        "utf-8",
    )
    sounds = read_sound_files(material / "sounds.jsonl")
    with pytest.raises(DataError, match=r"(?s)2 of 5 .*one\.mp4.*two\.mp4"):
        load_library(SceneMaterial(read_clips(tmp_path / "clips.jsonl"), sounds, frozenset({"gunshot"})))
