"""Which classes there are to learn, and which videos are held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from avdetect.errors import DataError
from avdetect.labels.videos import LabelledVideo
from avdetect.training.config import parse_config
from avdetect.training.data import Divided, TrainingData, comparison, divide, read_training_data

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


def data_set(*classes: str) -> TrainingData:
    """A video for each of ``classes``, such as ``siren|fight``; ``""`` for one without an event."""
    records = []
    for number, names in enumerate(classes):
        labels = frozenset(filter(None, names.split("|")))
        name = f"{number}.mp4"
        records.append(LabelledVideo(name, f"line {number}", Path(name), labels, bool(labels)))
    return TrainingData(Path("m.csv"), tuple(dict.fromkeys("|".join(filter(None, classes)).split("|"))), tuple(records))


def held_out(data: TrainingData, share: float = 0.2) -> Divided:
    return divide(data, parse_config({"manifest": data.path, "output": "run", "val_share": share}))


def test_of_24_videos_with_14_events_of_several_classes_some_of_each_kind_are_held_out() -> None:
    classes = ["fight"] * 4 + ["siren"] * 4 + ["glass"] * 3 + ["crash"] * 3
    divided = held_out(data_set(*classes, *[""] * 10))

    assert divided.videos_by_class() == {"fight": (3, 1), "siren": (3, 1), "glass": (2, 1), "crash": (2, 1), "": (8, 2)}


def test_what_is_held_out_is_the_same_whatever_the_order_of_the_list() -> None:
    data = data_set(*["fight"] * 11, *["siren|fight"] * 6, *[""] * 9)
    backwards = TrainingData(data.path, data.class_names, data.records[::-1])

    assert set(held_out(data).val) == set(held_out(backwards).val)
    assert not set(held_out(data).train) & set(held_out(data).val)


@given(
    classes=st.lists(st.sampled_from(["", "a", "b", "c", "a|b", "b|c", "a|b|c"]), min_size=1, max_size=60),
    share=st.floats(0.01, 0.99),
)
def test_every_class_keeps_something_to_learn_from_and_a_class_with_three_videos_is_held_out(
    classes: list[str], share: float
) -> None:
    assume(any(classes))
    divided = held_out(data_set(*classes), share)

    for train, val in divided.videos_by_class().values():
        assert train > 0 or val == 0
        if train + val >= 3 and all("|" not in one for one in classes):
            assert val == max(min(max(round(share * (train + val)), 1), train + val - 2), 1)


@pytest.mark.parametrize(
    ("classes", "one_class", "enough"),
    [
        ([*["a"] * 5, *[""] * 5], False, True),
        ([*["a"] * 4, *[""] * 9], False, False),
        ([*["a"] * 9, *[""] * 4], False, False),
        ([*["a"] * 2, *["b"] * 2, *["c"] * 2], False, True),  # each is an example against the others
        ([*["a"] * 2, *["b"] * 2, *["c"] * 2], True, False),  # ... but not where only events are told from none
        ([""] * 30, False, False),
        ([], False, False),
    ],
)
def test_epochs_are_compared_where_enough_videos_of_either_kind_are_held_out(
    classes: list[str], one_class: bool, enough: bool
) -> None:
    compared = comparison(Divided(("a", "b", "c"), (), data_set(*classes).records), one_class=one_class)

    assert (compared.metric, compared.problem is None) == (("val_bag_ap", True) if enough else (None, False))
