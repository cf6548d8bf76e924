from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from avdetect.errors import OutputError
from avdetect.events.curve import ScoreCurve
from avdetect.events.event import Event
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.sinks.report import ReportEntry, write_report

CLASSES = ("gunshot", "scream")


def make_entry(
    *,
    video: Path | None = None,
    source: str = "pipe:0",
    num_snippets: int = 5,
    media: MediaInfo | None = None,
    notes: tuple[MediaNote, ...] = (),
) -> ReportEntry:
    rng = np.random.default_rng(7)
    shape = (num_snippets, len(CLASSES))
    starts = np.arange(num_snippets) * 0.64
    curve = ScoreCurve(
        source=source,
        classes=CLASSES,
        anomaly_classes=(True, False),
        start_s=starts,
        end_s=starts + 0.64,
        scores=rng.random(shape, np.float32),
        audio_scores=rng.random(shape, np.float32),
        visual_scores=rng.random(shape, np.float32),
        present=np.array([(i != 1, i != 2) for i in range(num_snippets)], np.bool_).reshape(-1, 2),
    )
    events = (Event("gunshot", 0.64, 1.28, 0.96, 0.875, "both"),)
    media = media or MediaInfo(source, "mp4", duration_s=3.5, video_codec="h264", width=320, height=240)
    return ReportEntry(curve, events, media, notes, video, {"gunshot": 0.6})


def written(folder: Path, *entries: ReportEntry, title: str = "Report") -> str:
    write_report(folder / "report.html", entries, title=title)
    return (folder / "report.html").read_text("utf-8")


def documents(page: str) -> list[dict]:
    return [
        json.loads(text) for text in re.findall(r'<script type="application/json" class="entry">(.*?)</script>', page)
    ]


def test_the_page_holds_every_score_to_within_half_a_step(tmp_path: Path) -> None:
    entry = make_entry()

    (document,) = documents(written(tmp_path, entry))

    packed = np.frombuffer(base64.b64decode(document["scores"]), np.uint8).reshape(3, 2, 5)
    for head, scores in enumerate((entry.curve.scores, entry.curve.audio_scores, entry.curve.visual_scores)):
        np.testing.assert_allclose(packed[head].T / 255, scores, atol=0.5 / 255 + 1e-6)


def test_the_page_says_which_modality_is_absent_where(tmp_path: Path) -> None:
    (document,) = documents(written(tmp_path, make_entry()))

    assert list(base64.b64decode(document["present"])) == [3, 2, 1, 3, 3]


def test_the_page_knows_the_grid_the_events_and_the_thresholds(tmp_path: Path) -> None:
    note = MediaNote("truncated", "The file ends early.", 3.0)

    (document,) = documents(written(tmp_path, make_entry(notes=(note,))))

    assert document["start_s"] == 0.0
    assert document["hop_s"] == pytest.approx(0.64)
    assert document["duration_s"] == 3.5
    assert document["classes"] == [
        {"name": "gunshot", "on": 0.6},
        {"name": "scream", "on": None},
    ]
    assert document["events"][0]["start_s"] == 0.64
    assert document["notes"] == [{"code": "truncated", "message": "The file ends early.", "time_s": 3.0}]


@pytest.mark.parametrize("name", ["clip.mp4", "a b#1?x%20.mp4", "día 日本 'q' \"d\".mp4", "a:b.mp4", "<script><b>.mp4"])
def test_a_video_is_named_by_its_encoded_path_from_the_report(tmp_path: Path, name: str) -> None:
    (tmp_path / "reports").mkdir()

    page = written(tmp_path / "reports", make_entry(video=tmp_path / "videos" / name))

    (document,) = documents(page)
    assert unquote(document["url"]) == f"../videos/{name}"
    assert not set(document["url"]) & set("#?<>\" :'")
    assert document["name"] == name


def test_no_text_from_outside_can_end_an_element_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--"
    note = MediaNote("evil", evil)
    clean = written(tmp_path, make_entry())

    page = written(tmp_path, make_entry(source=evil, notes=(note,)), title="<img src=x onerror=alert(1)>&")

    assert page.count("<script") == clean.count("<script")
    assert page.count("</script") == clean.count("</script")
    assert "<!--" not in page
    assert "<img" not in page
    assert documents(page)[0]["name"] == evil


def test_a_name_that_is_no_text_is_still_shown_and_found(tmp_path: Path) -> None:
    (document,) = documents(written(tmp_path, make_entry(video=tmp_path / "caf\udce9.mp4")))

    assert document["name"] == "caf\ufffd.mp4"
    assert document["url"] == "caf%E9.mp4"


def test_a_source_that_is_no_file_has_no_player(tmp_path: Path) -> None:
    (document,) = documents(written(tmp_path, make_entry(source="rtsp://camera/1")))

    assert document["url"] is None
    assert document["name"] == "rtsp://camera/1"


def test_sound_without_a_picture_gets_an_audio_player(tmp_path: Path) -> None:
    media = MediaInfo("a.mp3", "mp3", audio_codec="mp3", audio_rate_hz=44_100, audio_channels=2)

    (document,) = documents(written(tmp_path, make_entry(video=tmp_path / "a.mp3", media=media)))

    assert document["kind"] == "audio"
    assert document["facts"] == "mp3 · mp3 44.1 kHz"


@pytest.mark.parametrize("num_snippets", [0, 1])
def test_a_source_with_hardly_a_snippet_is_shown(tmp_path: Path, num_snippets: int) -> None:
    (document,) = documents(written(tmp_path, make_entry(num_snippets=num_snippets)))

    assert document["hop_s"] > 0


def test_the_page_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    page = written(tmp_path, make_entry(video=tmp_path / "a.mp4"))

    assert "//" not in re.sub(r"(?m)(^|\s)//.*$", "", page)
    assert "default-src 'none'" in page


def test_several_sources_keep_their_order(tmp_path: Path) -> None:
    page = written(tmp_path, make_entry(source="b"), make_entry(source="a"))

    assert [document["name"] for document in documents(page)] == ["b", "a"]


def test_ten_hours_stay_under_two_megabytes_for_eight_classes(tmp_path: Path) -> None:
    num_snippets, classes = 56_250, tuple("abcdefgh")
    scores = np.zeros((num_snippets, 8), np.float32)
    starts = np.arange(num_snippets) * 0.64
    present = np.ones((num_snippets, 2), np.bool_)
    curve = ScoreCurve("x", classes, (True,) * 8, starts, starts + 0.64, scores, scores, scores, present)

    page = written(tmp_path, ReportEntry(curve, (), MediaInfo("x"), (), None, {}))

    assert len(page) < 2_000_000


def test_a_report_into_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/report\.html"):
        write_report(tmp_path / "missing" / "report.html", [make_entry()])
