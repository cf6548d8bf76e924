from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdetect.errors import OutputError, ScoresError, UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.events.segmenter import decide_events
from avdetect.manifest import EventRule
from avdetect.sinks.scores import check_scores_path, read_scores, write_scores

SUFFIXES = [".csv", ".parquet", ".npz"]
HEADER = "video,start,end,anomaly,audio,visual,gunshot,siren\n"
ROW = "a.mp4,0.0,0.64,0.5,0.5,0.1,0.5,0.2\n"


def curve(source: str = "a.mp4", count: int = 200, seed: int = 3) -> ScoreCurve:
    random = np.random.default_rng(seed)
    audio, visual = (random.random((count, 3)).astype(np.float32) ** 3 for _ in range(2))
    present = random.random((count, 2)) > 0.1
    audio[~present[:, 0]] = 0
    visual[~present[:, 1]] = 0
    edges = np.arange(count + 1) * 16 / 25
    end_s = edges[1:].copy()
    end_s[-1:] -= 0.1
    return ScoreCurve(
        source=source,
        classes=("gunshot", "broken glass", "activity"),
        anomaly_classes=(True, True, False),
        start_s=edges[:-1],
        end_s=end_s,
        scores=np.maximum(audio, visual),
        audio_scores=audio,
        visual_scores=visual,
        present=present,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_columns_read_back_to_the_last_bit(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scores{suffix}"
    curves = [curve("a.mp4"), curve("b.mp4", seed=4)]
    write_scores(path, curves)
    back = read_scores(path)
    assert [c.source for c in back] == ["a.mp4", "b.mp4"]
    for before, after in zip(curves, back, strict=True):
        seen = before.present.any(axis=1)
        assert after.classes == before.classes
        assert after.anomaly_classes == before.anomaly_classes
        np.testing.assert_array_equal(after.start_s, before.start_s)
        np.testing.assert_array_equal(after.end_s, before.end_s)
        np.testing.assert_array_equal(after.present.any(axis=1), seen)
        for name in ("scores", "anomaly", "audio", "visual"):
            np.testing.assert_array_equal(getattr(after, name)[seen], getattr(before, name)[seen])


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), on=st.floats(0.01, 1), smooth=st.sampled_from([1, 3, 5]))
def test_events_decided_again_are_the_same(
    suffix: str, seed: int, on: float, smooth: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("again") / f"scores{suffix}"
    before = curve(count=60, seed=seed)
    rules = [EventRule(on=on, off=on / 2, smooth_snippets=smooth)] * 3
    write_scores(path, [before])
    (after,) = read_scores(path)
    again, first = decide_events(after, rules), decide_events(before, rules)
    if suffix != ".npz":  # the other two hold no modality per class
        again, first = ([replace(event, modality="both") for event in events] for events in (again, first))
    assert again == first


def test_csv_has_one_row_per_snippet_and_exactly_the_promised_columns(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_scores(path, [curve('awk"ward,\n名.mp4', count=3)])
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["video", "start", "end", "anomaly", "audio", "visual", "gunshot", "broken glass", "activity"]
    assert [row[0] for row in rows[1:]] == ['awk"ward,\n名.mp4'] * 3
    assert [row[1:3] for row in rows[1:]] == [["0.0", "0.64"], ["0.64", "1.28"], ["1.28", "1.8199999999999998"]]
    assert read_scores(path)[0].source == 'awk"ward,\n名.mp4'


def test_a_modality_in_csv_is_that_of_the_anomaly(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(HEADER + "a.mp4,0,0.64,0.9,0.9,0.1,0.9,0\n" + "a.mp4,9,9.64,0.9,0.1,0.8,0.9,0\n")
    (read,) = read_scores(path)
    assert [event.modality for event in decide_events(read, [EventRule()] * 2)] == ["audio", "visual"]


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + ROW + "\n").replace("\n", "\r\n").encode())
    (read,) = read_scores(path)
    assert read.classes == ("gunshot", "siren")
    assert read.scores.tolist() == [[0.5, pytest.approx(0.2)]]


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("siren,end,start,video,visual,audio,anomaly\n0.2,0.64,0,a.mp4,0.1,0.2,0.3\n")
    (read,) = read_scores(path)
    assert (read.source, read.classes, float(read.end_s[0])) == ("a.mp4", ("siren",), 0.64)


def test_a_class_may_be_called_like_a_column(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    before = replace(curve(count=4), classes=("audio", "start", "x"))
    write_scores(path, [before])
    assert read_scores(path)[0].classes == ("audio", "start", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (HEADER, "there is no snippet in it"),
        ("video,start,end,audio,visual,x\n", "no column is called anomaly"),
        ("video,start,end,anomaly,audio,visual\n", "no column of a class"),
        ("video,start,end,anomaly,audio,visual,x,x\n", "must be distinct"),
        (HEADER + ROW + "a.mp4,0.64,1.28,0.5,0.5\n", "line 3: 5 values, the header has 8 columns"),
        (HEADER + ROW.replace("0.2", "high"), "line 2: siren must be a number, got 'high'"),
        (HEADER + ROW.replace("0.1", ""), "line 2: visual must be a number, got ''"),
        (HEADER + ROW.replace("0.2", "nan"), "line 2: siren must be a probability from 0 to 1, got nan"),
        (HEADER + ROW.replace("0.2", "1.01"), "line 2: siren must be a probability from 0 to 1, got 1.01"),
        (HEADER + ROW.replace("0.2", "1e300"), "line 2: siren must be a probability"),
        (HEADER + ROW.replace("0.1", "-0.1"), "line 2: visual must be a probability"),
        (HEADER + ROW.replace("0.64", "0.0"), "line 2: a snippet must end after it starts, got 0.0 to 0.0"),
        (HEADER + ROW.replace("0.64", "inf"), "line 2: a snippet must end after it starts"),
        (HEADER + ROW + ROW, "line 3: the snippets of a.mp4 must come in order"),
    ],
)
def test_a_bad_table_is_refused_with_the_line_and_the_reason(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(ScoresError, match=rf"scores\.csv.*{message}"):
        read_scores(path)


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(HEADER + ROW.replace("a.mp4", '"a\nb.mp4"') + "\n" + ROW.replace("0.2", "2"))
    with pytest.raises(ScoresError, match="line 5"):
        read_scores(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_something_else_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scores{suffix}"
    path.write_bytes(b"\x00\xff\x13 not scores")
    with pytest.raises(ScoresError, match="scores"):
        read_scores(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scores{suffix}"
    write_scores(path, [curve()])
    path.write_bytes(path.read_bytes()[:-37])
    with pytest.raises(ScoresError):
        read_scores(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match=r"cannot read .*: No such file"):
        read_scores(tmp_path / f"none{suffix}")


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    for act in (read_scores, check_scores_path):
        with pytest.raises(UsageError, match=r"end in \.csv, \.parquet, \.npz"):
            act(tmp_path / "scores.xlsx")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for act in (read_scores, check_scores_path):
        with pytest.raises(UsageError, match=r"pip install 'avdetect\[parquet\]'"):
            act(tmp_path / "scores.parquet")


def test_parquet_text_where_numbers_belong_is_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "scores.parquet"
    columns = {name: [0.5] for name in HEADER.strip().split(",")} | {"video": ["a"], "siren": ["high"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(ScoresError, match="the column siren must hold numbers, got string"):
        read_scores(path)
    pyarrow.parquet.write_table(pyarrow.table(columns | {"end": [0.7], "siren": [None]}), path)
    with pytest.raises(ScoresError, match="row 1: siren must be a probability from 0 to 1, got nan"):
        read_scores(path)


def test_an_archive_that_does_not_hold_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ScoresError, match="no array is called schema_version"):
        read_scores(path)
    np.savez(path, schema_version=np.array([{}], dtype=object))
    with pytest.raises(ScoresError, match="no array is called"):
        read_scores(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ScoresError, match="a single array"):
        read_scores(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("schema_version", np.array("2.0"), r"version 2\.0 of the format"),
        ("schema_version", np.array([{}], dtype=object), "damaged"),
        ("scores", np.zeros((3, 3), np.float32), r"scores must have the shape \(200, 3\)"),
        ("present", np.zeros((200, 2)), "present must be bool"),
        ("scores", np.full((200, 3), np.nan, np.float32), "must be probabilities"),
        ("num_snippets", np.array([200.0]), "must hold counts"),
        ("start_s", np.zeros(200), "come in order"),
    ],
)
def test_a_bad_archive_is_refused_with_the_array_and_the_reason(
    name: str, value: np.ndarray, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "scores.npz"
    write_scores(path, [curve()])
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **(arrays | {name: value}))
    with pytest.raises(ScoresError, match=message):
        read_scores(path)


def test_curves_of_different_classes_cannot_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"b\.mp4 has a, b, c"):
        write_scores(tmp_path / "scores.csv", [curve(), replace(curve("b.mp4"), classes=("a", "b", "c"))])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_name_that_is_not_unicode_can_be_saved(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scores{suffix}"
    write_scores(path, [curve("caf\udce9.mp4")])
    assert read_scores(path)[0].source.startswith("caf")


def test_scores_that_cannot_be_written_are_noticed_before(tmp_path: Path) -> None:
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        check_scores_path(tmp_path / "dir.csv")
    with pytest.raises(OutputError, match="there is no folder"):
        check_scores_path(tmp_path / "none" / "a.csv")
    check_scores_path(tmp_path / "a.npz")
