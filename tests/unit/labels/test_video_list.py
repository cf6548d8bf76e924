"""What a manifest says of its videos, and everything that is wrong with one, said at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avdetect.errors import DataError
from avdetect.labels.video_list import read_labelled_videos
from avdetect.timebase import Span

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a manifest beside the videos a.mp4 to d.mp4."""
    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_bytes(b"not looked at")

    def make(name: str, *lines: object) -> Path:
        (tmp_path / name).write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
        return tmp_path / name

    return make


@pytest.mark.parametrize("column", ["class", "label"])
def test_a_table_names_videos_classes_and_splits(write: Write, column: str) -> None:
    table = [f"video,{column},split", "a.mp4,fight,train", "b.mp4,normal,", "c.mp4,fight,validation", "d.mp4,,train"]
    videos = read_labelled_videos(write("m.csv", *table))

    assert [video.split for video in videos] == ["train", None, "val", "train"]
    assert [video.positive for video in videos] == [True, False, True, False]
    assert [video.where for video in videos][:2] == ["m.csv, line 2", "m.csv, line 3"]


def test_columns_of_other_programs_are_left_out(write: Write) -> None:
    (video,) = read_labelled_videos(write("m.csv", "video,label,duration,events", "a.mp4,fight,0:28,3"))

    assert (video.classes, video.duration_s, video.events) == ({"fight"}, None, None)


def test_labels_are_sets_of_classes(write: Write) -> None:
    videos = read_labelled_videos(write("m.csv", "video,classes", "a.mp4,fight|siren", "b.mp4,", "c.mp4,siren"))

    assert [video.classes for video in videos] == [{"fight", "siren"}, set(), {"siren"}]


def test_json_lines_may_carry_events_and_keys_of_other_programs(write: Write, tmp_path: Path) -> None:
    event = {"start": 1.5, "end": 3.0, "class": "fight", "modality": "visual", "snr_db": 3.0}
    line = {"video": "a.mp4", "class": 1, "classes": ["fight"], "fps": 24, "duration": 9, "events": [event], "x": 1}
    video, normal = read_labelled_videos(write("m.jsonl", line, "", {"video": "b.mp4", "label": 0, "classes": []}))

    assert video.media == video.path == tmp_path / "a.mp4"
    assert video.events is not None
    assert [(one.span, one.class_name, one.modality) for one in video.events] == [(Span(1.5, 3.0), "fight", "visual")]
    assert (video.fps, video.duration_s) == (24, 9)
    assert (normal.classes, normal.events, normal.fps) == (set(), (), 25)


def test_an_event_seen_and_heard_counts_for_each_class_where_that_lies(write: Write) -> None:
    event = {"start": 1, "end": 9, "class": "fight", "modality": "audio-visual"}
    event |= {"audio_class": "scream", "audio": [1, 3], "visual": [4, 9]}

    (video,) = read_labelled_videos(write("m.jsonl", {"video": "a.mp4", "events": [event]}))

    assert video.events is not None
    assert video.events[0].span == Span(1, 9)
    assert video.spans_of("fight") == [Span(4, 9)]
    assert video.spans_of("scream") == [Span(1, 3)]
    assert video.classes == {"fight", "scream"}


def test_a_positive_video_without_times_has_no_known_events(write: Write) -> None:
    labelled, normal, unnamed, single = read_labelled_videos(
        write(
            "m.jsonl",
            {"video": "a.mp4", "classes": ["siren"]},
            {"video": "b.mp4", "label": 0},
            {"video": "c.mp4", "label": 1},
            {"video": "d.mp4", "label": "siren"},
        )
    )

    assert (labelled.positive, labelled.events) == (True, None)
    assert (normal.positive, normal.events) == (False, ())
    assert (unnamed.positive, unnamed.events, unnamed.classes) == (True, None, frozenset())
    assert single.classes == {"siren"}


def test_a_folder_per_class_is_a_manifest(tmp_path: Path) -> None:
    for name in ("goal/a.mp4", "goal/more/b.mkv", "goal/notes.txt", "normal/c.mp4", ".cache/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert [(video.name, set(video.classes), video.events) for video in read_labelled_videos(tmp_path)] == [
        ("goal/a.mp4", {"goal"}, None),
        ("goal/more/b.mkv", {"goal"}, None),
        ("normal/c.mp4", set(), ()),
    ]


def test_all_mistakes_are_reported_at_once_each_with_its_line(write: Write) -> None:
    manifest = write(
        "m.jsonl",
        {"video": "a.mp4", "label": "fight"},
        {"video": "gone.mp4", "label": "fight"},
        {"video": "a.mp4", "label": "normal"},
        '{"video": "b.mp4", ',
        "[1]",
        {"video": "b.mp4"},
        {"video": "c.mp4", "label": "normal", "classes": ["fight"]},
        {"video": "d.mp4", "label": "fight", "split": "test"},
        {"video": "d.mp4", "label": "fight", "events": [{"start": 3, "end": 2, "class": "fight"}]},
        {"video": "d.mp4", "label": 1, "events": []},
    )

    with pytest.raises(DataError) as caught:
        read_labelled_videos(manifest)
    said = str(caught.value)
    assert said.startswith(f"{manifest} has 9 mistakes:")
    for line, fault in {
        2: "there is no file",
        3: "a.mp4 is listed already (m.jsonl, line 1)",
        4: "this is not JSON",
        5: "expected a JSON object",
        6: "there is neither class nor classes nor events",
        7: "class 'normal' and classes contradict each other",
        8: "split: Input should be 'train' or 'val'",
        9: "events.0: an event must end after it starts, got 3 to 2",
        10: "class '1' and events contradict each other",
    }.items():
        (found,) = (one for one in said.splitlines() if f"line {line}:" in one)
        assert fault in found


def test_where_only_scores_are_needed_the_videos_may_be_missing(write: Write) -> None:
    manifest = write("m.jsonl", {"video": "gone.mp4", "label": 0})

    assert [video.name for video in read_labelled_videos(manifest, files_must_exist=False)] == ["gone.mp4"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["name,label", "a.mp4,fight"], "line 1: the columns must be video and class"),
        (["video,label", "a.mp4,fight,train"], "line 2: it has more fields than there are columns"),
        (["video,label", "a.mp4"], "line 2: it has fewer fields than there are columns: label is missing"),
        (["video,label,split", "a.mp4,fight"], "line 2: it has fewer fields than there are columns: split is missing"),
        (["video;label", "a.mp4;fight"], "line 1: its fields are separated by semicolons; a .csv needs commas"),
        (["video\tlabel", "a.mp4\tfight"], "line 1: its fields are separated by tabs; a .csv needs commas"),
        (["video,label"], "lists no video"),
    ],
)
def test_a_table_that_says_nothing_is_refused(write: Write, lines: list[str], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_labelled_videos(write("m.csv", *lines))


def test_a_class_without_videos_is_a_mistake_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "goal").mkdir()

    with pytest.raises(DataError, match="goal: the class has no video"):
        read_labelled_videos(tmp_path)


def test_what_is_no_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no list at"):
        read_labelled_videos(tmp_path / "gone.csv")
    (tmp_path / "m.xlsx").touch()
    with pytest.raises(DataError, match=r"a list of videos is a folder or ends in \.csv, \.jsonl"):
        read_labelled_videos(tmp_path / "m.xlsx")
