"""Whatever the commands do can be done from Python."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import avdetect
from tests.synth.media import MediaFactory

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
PAGE = Path(__file__).parents[2] / "docs" / "python.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


class Log(avdetect.BatchListener):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.finished: list[str] = []

    def begin(self, sources: object) -> None:
        self.begun += list(sources)  # type: ignore[call-overload]

    def finish(self, source: str) -> None:
        self.finished.append(source)


@pytest.fixture(scope="module")
def bundle() -> avdetect.Bundle:
    return avdetect.Bundle.load(device="cpu")


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_batch_goes_on_past_files_that_cannot_be_scored(
    bundle: avdetect.Bundle, media: MediaFactory, tmp_path: Path, jobs: int
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    sources = [media.flash_and_tone("library.mp4"), broken, tmp_path / "gone.mp4", DEMO]
    log = Log()

    first, second, third, last = avdetect.score_many(sources, bundle=bundle, jobs=jobs, listener=log)

    assert isinstance(first, avdetect.ScoreResult)
    assert isinstance(last, avdetect.ScoreResult)
    assert "gunshot" in {event.class_name for event in last.events}
    assert isinstance(second, avdetect.FailedSource)
    assert isinstance(third, avdetect.FailedSource)
    assert (second.source, third.source) == (str(broken), str(tmp_path / "gone.mp4"))
    assert "broken.mp4" in second.error
    assert log.begun == [str(source) for source in sources]
    assert sorted(log.finished) == sorted(log.begun)


def test_many_are_scored_as_each_is_alone(bundle: avdetect.Bundle) -> None:
    chosen = avdetect.RuleOverrides(threshold=0.75, classes=("gunshot", "siren"))

    (one,) = avdetect.score_many([DEMO], bundle=bundle, rules=chosen)
    alone = avdetect.score(DEMO, bundle=bundle, rules=chosen)

    assert isinstance(one, avdetect.ScoreResult)
    assert one.events == alone.events
    assert {event.class_name for event in alone.events} == {"siren"}


def test_rules_that_are_not_as_many_as_classes_are_refused(bundle: avdetect.Bundle) -> None:
    with pytest.raises(avdetect.UsageError, match="1 rules were given for the"):
        list(avdetect.score_many([DEMO], bundle=bundle, rules=[avdetect.EventRule()]))


def test_recordings_are_heard_once_and_asked_again(media: MediaFactory, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(DEMO, videos / "demo.mp4")
    (videos / "broken.mp4").write_bytes(b"no video")
    log = Log()

    made = avdetect.index([videos], device="cpu", listener=log)
    again = avdetect.index([videos], device="cpu")
    found = avdetect.query([videos / "demo.mp4"], "a siren", top=1, device="cpu", listener=log)

    assert (made.num_heard, made.num_kept, len(made.errors)) == (1, 0, 1)
    assert (again.num_heard, again.num_kept) == (0, 1)
    assert len(log.begun) == 2, "nothing was heard again for the question"
    (place,) = found.places
    assert place.start_s < 18.0
    assert place.end_s > 12.0
    assert found.as_dict(avdetect_version="1")["errors"] == []


def test_what_has_no_index_is_heard_for_the_question(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    log = Log()

    found = avdetect.query([DEMO], "a siren", device="cpu", listener=log)

    assert log.begun == [str(DEMO)]
    assert found.places


def test_a_feed_is_watched_until_its_end(bundle: avdetect.Bundle, media: MediaFactory, tmp_path: Path) -> None:
    video = media.flash_and_tone("library-live.mp4", duration_s=2.5)
    options = avdetect.LiveOptions(realtime=True)

    reports = list(avdetect.watch(str(video), bundle=bundle, options=options, scores=True, clips=tmp_path / "clips"))

    states = [report.state for report in reports if isinstance(report, avdetect.FeedStatus)]
    assert "running" in states
    assert states[-1] == "ended"
    assert sum(isinstance(report, avdetect.ScoredSnippet) for report in reports) >= 3
    assert (tmp_path / "clips").is_dir()


def test_a_feed_that_is_left_early_leaves_no_thread_behind(bundle: avdetect.Bundle, media: MediaFactory) -> None:
    video = media.flash_and_tone("library-live.mp4", duration_s=2.5)
    reports = avdetect.watch(str(video), bundle=bundle, options=avdetect.LiveOptions(realtime=True, loop=True))

    next(reports)
    reports.close()  # type: ignore[attr-defined]

    assert "avdetect-watch" not in {thread.name for thread in threading.enumerate()}


def test_a_file_that_is_not_there_is_no_feed(bundle: avdetect.Bundle, tmp_path: Path) -> None:
    with pytest.raises(avdetect.MediaError, match="no such file"):
        avdetect.watch(str(tmp_path / "gone.mp4"), bundle=bundle)
    with pytest.raises(avdetect.UsageError, match="is a file"):
        avdetect.watch(str(DEMO), bundle=bundle)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_of_the_page_runs(program: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    shutil.copy(DEMO, tmp_path / "video.mp4")
    shutil.copy(DEMO, tmp_path / "videos" / "a.mp4")
    events = '[{"start": 7.0, "end": 9.0, "class": "gunshot"}]'
    (tmp_path / "truth.jsonl").write_text(f'{{"video": "video.mp4", "events": {events}}}\n')

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
