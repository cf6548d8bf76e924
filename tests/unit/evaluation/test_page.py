from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from avdetect.errors import OutputError
from avdetect.evaluation.evaluate import evaluate
from avdetect.evaluation.page import write_page
from avdetect.evaluation.result import Evaluation
from avdetect.labels.videos import LabelledVideo
from tests.unit.evaluation.synthetic import curve, happening, manifest, truth


@pytest.fixture
def result(tmp_path: Path) -> Evaluation:
    """A missed event in a video with an awkward name, and a false alarm."""
    missed = happening(6, 8, "bang", "audio")
    awkward = LabelledVideo(
        name="a <b> 50%.mp4",
        where="truth.jsonl, line 1",
        media=tmp_path / "videos" / "a <b> 50%.mp4",
        duration_s=10.0,
        fps=25.0,
        classes=frozenset(["bang"]),
        positive=True,
        events=(missed,),
    )
    return evaluate(
        [
            (awkward, curve("a", ["bang"], [[0.1]] * 10, hop_s=1.0)),
            (truth("b.mp4", 10.0), curve("b.mp4", ["bang"], [[0.1]] * 5 + [[0.9]] + [[0.1]] * 4, hop_s=1.0)),
        ],
        manifest("bang"),
    )


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "link"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: Path) -> _Tags:
    tags = _Tags()
    tags.feed(page.read_text("utf-8"))
    assert tags.open == []
    return tags


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, result: Evaluation) -> None:
    page = tmp_path / "page.html"

    write_page(page, result, subject="bundle & <manifest>", num_worst=10)

    tags = parsed(page)
    assert "script" not in tags.seen
    assert tags.seen.count("figure") == 2
    assert {"polyline", "circle"} <= set(tags.seen)
    assert not re.search(r"(src|href)=\"https?:", page.read_text("utf-8"))
    assert "Evaluation: bundle &amp; &lt;manifest&gt;" in page.read_text("utf-8")


def test_links_open_the_video_shortly_before_what_went_wrong(tmp_path: Path, result: Evaluation) -> None:
    page = tmp_path / "page.html"

    write_page(page, result, subject="x", num_worst=10)

    false_alarm, missed = parsed(page).links
    assert false_alarm.endswith("b.mp4#t=4.00,6.00")
    assert missed == "videos/a%20%3Cb%3E%2050%25.mp4#t=5.00,8.00"


def test_only_as_many_are_listed_as_were_asked_for(tmp_path: Path, result: Evaluation) -> None:
    page = tmp_path / "page.html"

    write_page(page, result, subject="x", num_worst=0)

    assert parsed(page).links == []


def test_labels_alone_give_a_page_too(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    scores = curve("a.mp4", ["bang"], [[0.1]])

    write_page(
        page,
        evaluate([(truth("a.mp4", 0.64, None, classes=["bang"]), scores)], manifest("bang")),
        subject="x",
        num_worst=10,
    )

    assert "figure" not in parsed(page).seen
    assert "nan" not in page.read_text("utf-8")


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path, result: Evaluation) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_page(tmp_path / "none" / "page.html", result, subject="x", num_worst=1)
