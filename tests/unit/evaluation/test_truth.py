from __future__ import annotations

import json
from pathlib import Path

import pytest

from avdetect.errors import UsageError
from avdetect.evaluation.truth import VideoTruth, check_videos_exist, read_truth
from avdetect.timebase import Span


def read(tmp_path: Path, *rows: object) -> list[VideoTruth]:
    path = tmp_path / "truth.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return read_truth(path)


def test_an_event_seen_and_heard_counts_for_each_class_where_that_lies(tmp_path: Path) -> None:
    event = {"start": 1, "end": 9, "class": "fight", "modality": "audio-visual"}
    event |= {"audio_class": "scream", "audio": [1, 3], "visual": [4, 9], "snr_db": 3.0}

    (video,) = read(tmp_path, {"video": "a.mp4", "duration": 20, "fps": 25, "events": [event], "distractors": []})

    assert video.events is not None
    assert video.events[0].span == Span(1, 9)
    assert video.spans_of("fight") == [Span(4, 9)]
    assert video.spans_of("scream") == [Span(1, 3)]
    assert video.classes == {"fight", "scream"}


def test_a_positive_video_without_times_has_no_known_events(tmp_path: Path) -> None:
    labelled, normal, unnamed, single = read(
        tmp_path,
        {"video": "a.mp4", "classes": ["siren"]},
        {"video": "b.mp4", "label": 0},
        {"video": "c.mp4", "label": 1},
        {"video": "d.mp4", "label": "siren"},
    )

    assert (labelled.positive, labelled.events) == (True, None)
    assert (normal.positive, normal.events) == (False, ())
    assert (unnamed.positive, unnamed.events, unnamed.classes) == (True, None, frozenset())
    assert single.classes == {"siren"}


def test_all_mistakes_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    event = {"start": 3, "end": 2, "class": "siren"}
    with pytest.raises(UsageError) as refused:
        read(
            tmp_path,
            {"video": "a.mp4", "label": 0},
            "{no json",
            {"video": "b.mp4"},
            {"video": "a.mp4", "label": 0},
            {"video": "c.mp4", "events": [event]},
            {"video": "d.mp4", "label": 0, "classes": ["siren"]},
        )

    text = str(refused.value)
    assert "line 2: not JSON" in text
    assert "line 3: there is neither label nor classes nor events" in text
    assert "line 4: a.mp4 is there twice" in text
    assert "line 5: events.0: an event must end after it starts, got 3 to 2" in text
    assert "line 6: label is 0, but there are classes or events" in text
    assert "line 1" not in text


def test_a_manifest_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read .*none.jsonl: No such file"):
        read_truth(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="names no video"):
        read(tmp_path)


def test_missing_videos_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    videos = read(tmp_path, {"video": "a.mp4", "label": 0}, {"video": "b.mp4", "label": 0})

    with pytest.raises(UsageError, match="1 of 2 videos are not there: b.mp4"):
        check_videos_exist(tmp_path / "truth.jsonl", videos)
