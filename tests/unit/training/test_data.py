"""Which classes there are to learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avdetect.errors import DataError
from avdetect.training.data import read_training_data

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table beside the videos a.mp4 to d.mp4."""
    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_bytes(b"not looked at")

    def make(*lines: str) -> Path:
        (tmp_path / "m.csv").write_text("\n".join(lines))
        return tmp_path / "m.csv"

    return make


def test_classes_come_in_the_order_of_their_first_appearance(write: Write) -> None:
    manifest = read_training_data(write("video,classes", "a.mp4,siren", "b.mp4,", "c.mp4,siren|fight"))

    assert manifest.class_names == ("siren", "fight")
    assert not manifest.has_features


def test_a_label_of_one_alone_is_an_unnamed_event(write: Write) -> None:
    assert read_training_data(write("video,label", "a.mp4,1", "b.mp4,0")).class_names == ("event",)


def test_a_list_of_features_is_told_from_one_of_videos(tmp_path: Path) -> None:
    for name in ("x_label_B1__0.npy", "x_label_B1__vggish.npy"):
        (tmp_path / name).touch()
    (tmp_path / "rgb.list").write_text("x_label_B1__0.npy")

    assert read_training_data(tmp_path / "rgb.list").has_features


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["video,label", "a.mp4,figth", "b.mp4,fight"], "line 2: unknown label figth; the classes are fight, siren"),
        (["video,label", "a.mp4,fight"], "the class siren has no video to train on"),
        (["video,label,split", "a.mp4,fight,", "b.mp4,siren,val"], "the class siren has no video to train on"),
    ],
)
def test_where_the_classes_are_given_none_may_be_unknown_or_empty(write: Write, lines: list[str], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_training_data(write(*lines), class_names=("fight", "siren"))


def test_a_class_that_only_validation_has_cannot_be_learned(write: Write) -> None:
    with pytest.raises(DataError, match="line 3: unknown label siren; no video to train on has it"):
        read_training_data(write("video,label,split", "a.mp4,fight,train", "b.mp4,siren,val"))


def test_where_nothing_happens_there_is_nothing_to_learn(write: Write) -> None:
    with pytest.raises(DataError, match="no video has an event"):
        read_training_data(write("video,label", "a.mp4,normal"))


def test_mistakes_of_lines_and_of_classes_are_reported_together(write: Write) -> None:
    with pytest.raises(DataError, match="has 2 mistakes:") as caught:
        read_training_data(write("video,label", "gone.mp4,fight", "b.mp4,siren"), class_names=("fight",))

    assert "line 2: there is no file" in str(caught.value)
    assert "line 3: unknown label siren" in str(caught.value)
