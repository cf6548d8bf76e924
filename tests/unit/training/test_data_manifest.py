"""What a manifest says, and everything that is wrong with one, said at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avdetect.errors import DataError
from avdetect.timebase import Span
from avdetect.training.data_manifest import FeatureFiles, read_data_manifest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a manifest beside the videos a.mp4 to d.mp4."""
    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_bytes(b"not looked at")

    def make(name: str, *lines: str) -> Path:
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return make


def test_a_table_names_videos_labels_and_splits(write: Write) -> None:
    table = ["video,label,split", "a.mp4,fight,train", "b.mp4,normal,", "c.mp4,fight,validation", "d.mp4,,train"]
    manifest = read_data_manifest(write("m.csv", *table))

    assert manifest.class_names == ("fight",)
    assert [record.split for record in manifest.records] == ["train", None, "val", "train"]
    assert [bool(record.class_names) for record in manifest.records] == [True, False, True, False]


def test_labels_are_sets_of_classes(write: Write) -> None:
    manifest = read_data_manifest(write("m.csv", "video,classes", "a.mp4,fight|siren", "b.mp4,", "c.mp4,siren"))

    assert manifest.class_names == ("fight", "siren")
    assert [record.class_names for record in manifest.records] == [{"fight", "siren"}, set(), {"siren"}]


def test_json_lines_may_carry_events_and_keys_of_other_programs(write: Write, tmp_path: Path) -> None:
    event = {"start": 1.5, "end": 3.0, "class": "fight", "modality": "visual"}
    line = {"video": "a.mp4", "label": 1, "classes": ["fight"], "fps": 25, "events": [event]}
    (record, normal) = read_data_manifest(
        write("m.jsonl", json.dumps(line), "", '{"video": "b.mp4", "label": 0, "classes": []}')
    ).records

    assert record.media == tmp_path.resolve() / "a.mp4"
    assert record.events is not None
    assert [(one.span, one.class_name) for one in record.events] == [(Span(1.5, 3.0), "fight")]
    assert normal.class_names == set()
    assert normal.events is None


def test_a_label_of_one_alone_is_an_unnamed_event(write: Write) -> None:
    assert read_data_manifest(write("m.csv", "video,label", "a.mp4,1", "b.mp4,0")).class_names == ("event",)


def test_a_folder_per_class_is_a_manifest(tmp_path: Path) -> None:
    for name in ("goal/a.mp4", "goal/more/b.mkv", "goal/notes.txt", "normal/c.mp4", ".cache/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    manifest = read_data_manifest(tmp_path)

    assert [(record.name, set(record.class_names)) for record in manifest.records] == [
        ("a.mp4", {"goal"}),
        ("b.mkv", {"goal"}),
        ("c.mp4", set()),
    ]


def test_features_of_xd_violence_are_put_together_by_video(tmp_path: Path) -> None:
    names = [f"Film__#1_label_B2-G-0__{crop}.npy" for crop in range(5)] + ["v=x_label_A__0.npy"]
    for name in [*names, "Film__#1_label_B2-G-0__vggish.npy", "v=x_label_A__vggish.npy"]:
        (tmp_path / name).touch()
    (tmp_path / "rgb.list").write_text("\n".join(names))
    manifest = read_data_manifest(tmp_path / "rgb.list")

    assert manifest.has_features
    film, normal = manifest.records
    assert isinstance(film.media, FeatureFiles)
    assert [path.name for path in film.media.visual] == names[:5]
    assert film.media.audio.name == "Film__#1_label_B2-G-0__vggish.npy"
    assert film.class_names == {"B2", "G"}
    assert normal.class_names == set()


def test_all_mistakes_are_reported_at_once_each_with_its_line(write: Write) -> None:
    manifest = write(
        "m.jsonl",
        '{"video": "a.mp4", "label": "fight"}',
        '{"video": "gone.mp4", "label": "fight"}',
        '{"video": "a.mp4", "label": "normal"}',
        '{"video": "b.mp4", ',
        "[1]",
        '{"video": "b.mp4"}',
        '{"video": "c.mp4", "label": "normal", "classes": ["fight"]}',
        '{"video": "d.mp4", "label": "fight", "split": "test"}',
        '{"video": "d.mp4", "label": "fight", "events": [{"start": 2, "end": 1, "class": "fight"}]}',
    )

    with pytest.raises(DataError) as caught:
        read_data_manifest(manifest)
    said = str(caught.value)
    assert said.startswith(f"{manifest} has 8 mistakes:")
    for line, fault in {
        2: "there is no file",
        3: "a.mp4 is listed already (m.jsonl, line 1)",
        4: "this is not JSON",
        5: "expected a JSON object",
        6: "it has neither label nor classes",
        7: "contradict each other",
        8: "split: Input should be 'train' or 'val'",
        9: "an event must end after it starts",
    }.items():
        (found,) = (one for one in said.splitlines() if f"line {line}:" in one)
        assert fault in found


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
        read_data_manifest(write("m.csv", *lines), class_names=("fight", "siren"))


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["name,label", "a.mp4,fight"], "line 1: the columns must be video and label"),
        (["video,label", "a.mp4,fight,train"], "line 2: it has more fields than there are columns"),
        (["video,label"], "lists no video"),
        (["video,label", "a.mp4,normal"], "no video has an event"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(write: Write, lines: list[str], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_data_manifest(write("m.csv", *lines))


def test_a_class_without_videos_is_a_mistake_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "goal").mkdir()

    with pytest.raises(DataError, match="goal: the class has no video"):
        read_data_manifest(tmp_path)


def test_what_is_no_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no manifest at"):
        read_data_manifest(tmp_path / "gone.csv")
