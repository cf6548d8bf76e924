from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from avdetect.errors import OutputError, UsageError
from avdetect.events.event import Event
from avdetect.sinks.formats import FORMATS, event_format, open_sink, paths_for

SHOT = Event("gunshot", 1.92, 3.2, 2.24, 0.87654, "audio")
FIGHT = Event("fight", 3599.9996, 3600.64, 3600.32, 0.5, "both")
AWKWARD = ['a,b "c".mp4', "línea\nnueva.mp4", "日本語 ✓.mp4", "semi;colon\ttab.mp4", " padded ", "-"]
ONE_SOURCE = [name for name, form in FORMATS.items() if not form.holds_many_sources]


def written(name: str, *events: tuple[str, Event]) -> str:
    text = io.StringIO()
    with open_sink(name, text) as sink:
        for source, event in events:
            sink.write(source, event)
    return text.getvalue()


def test_jsonl_reads_back_as_one_object_per_event() -> None:
    lines = written("jsonl", ("a.mp4", SHOT), ("b.mp4", FIGHT)).splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "source": "a.mp4",
            "class": "gunshot",
            "start_s": 1.92,
            "end_s": 3.2,
            "peak_s": 2.24,
            "confidence": 0.8765,
            "modality": "audio",
        },
        {
            "source": "b.mp4",
            "class": "fight",
            "start_s": 3600.0,
            "end_s": 3600.64,
            "peak_s": 3600.32,
            "confidence": 0.5,
            "modality": "both",
        },
    ]


@pytest.mark.parametrize("source", AWKWARD)
def test_awkward_names_survive_csv_and_jsonl(source: str) -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", (source, SHOT)), newline="")))
    assert [row["source"] for row in rows] == [source]
    assert float(rows[0]["end_s"]) == 3.2
    assert rows[0]["modality"] == "audio"
    assert json.loads(written("jsonl", (source, SHOT)))["source"] == source


def test_csv_has_its_header_even_without_events() -> None:
    assert written("csv") == "source,class,start_s,end_s,peak_s,confidence,modality\n"


CUE = re.compile(r"(\d+):(\d\d):(\d\d)[.,](\d{3}) --> (\d+):(\d\d):(\d\d)[.,](\d{3})")


def cue_ms(line: str) -> tuple[int, int]:
    match = CUE.fullmatch(line)
    assert match, line
    h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
    return ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2


def test_srt_numbers_its_captions_and_rounds_to_milliseconds() -> None:
    first, second = written("srt", ("a.mp4", SHOT), ("a.mp4", FIGHT)).strip().split("\n\n")
    assert first.split("\n") == ["1", "00:00:01,920 --> 00:00:03,200", "gunshot 88% (heard)"]
    assert second.split("\n")[0] == "2"
    assert cue_ms(second.split("\n")[1]) == (3_600_000, 3_600_640)


def test_vtt_starts_with_its_signature_and_escapes_text() -> None:
    event = Event("<b> & -->\nx", 1.0, 2.0, 1.5, 0.5, "visual")
    header, cue = written("vtt", ("a.mp4", event)).strip().split("\n\n")
    assert header == "WEBVTT"
    assert cue.split("\n") == ["00:00:01.000 --> 00:00:02.000", "&lt;b&gt; &amp; --&gt; x 50% (seen)"]
    assert written("vtt") == "WEBVTT\n\n"


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_a_caption_never_ends_when_it_starts(name: str) -> None:
    text = written(name, ("a.mp4", Event("x", 1.0, 1.0002, 1.0001, 0.5, "both")))
    line = next(line for line in text.splitlines() if "-->" in line)
    assert cue_ms(line) == (1000, 1001)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_captions_go_beyond_99_hours(name: str) -> None:
    text = written(name, ("a.mp4", Event("x", 400_000.0, 400_001.0, 400_000.5, 0.5, "both")))
    assert "111:06:40" in text


def test_an_audacity_label_is_three_fields_between_tabs() -> None:
    event = Event("broken\tglass\n", 1.92, 3.2, 2.0, 0.9, "both")
    lines = written("audacity", ("a.mp4", event)).splitlines()
    assert [line.split("\t") for line in lines] == [["1.920000", "3.200000", "broken glass 90% (heard and seen)"]]


def test_an_rttm_line_has_ten_fields_whatever_the_names() -> None:
    text = written("rttm", ("my film.mp4", Event("broken glass", 1.92, 3.2, 2.0, 0.9, "both")), ("b", SHOT))
    rows = [line.split(" ") for line in text.splitlines()]
    assert [len(row) for row in rows] == [10, 10]
    kind, source, channel, start, duration, _, _, label, confidence, _ = rows[0]
    assert (kind, source, channel, label) == ("SPEAKER", "my_film.mp4", "1", "broken_glass")
    assert (float(start), float(duration), float(confidence)) == (1.92, 1.28, 0.9)


@pytest.mark.parametrize("name", ONE_SOURCE)
def test_a_format_without_sources_refuses_a_second_one(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} holds the events of one source, got a.mp4 and b.mp4"):
        written(name, ("a.mp4", SHOT), ("b.mp4", SHOT))


def test_formats_that_name_the_source_take_several() -> None:
    assert set(FORMATS) - set(ONE_SOURCE) == {"jsonl", "csv", "rttm"}


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="no format is called mp3; choose from jsonl, csv, srt"):
        event_format("mp3")


def test_each_event_reaches_a_stream_at_once() -> None:
    class Pipe(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    pipe = Pipe()
    with open_sink("jsonl", pipe) as sink:
        sink.write("a.mp4", SHOT)
        assert json.loads(pipe.flushed)["class"] == "gunshot"
    assert not pipe.closed


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_file_appears_when_it_is_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "events.txt"
    with open_sink(name, path) as sink:
        sink.write("a.mp4", SHOT)
        assert not path.exists()
    assert path.read_bytes().decode() == written(name, ("a.mp4", SHOT))
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_run_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("old")

    def fail() -> None:
        with open_sink("csv", path):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"), open_sink("csv", tmp_path / "nowhere" / "a.csv"):
        pass


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_name_that_is_not_unicode_can_be_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "events.txt"
    with open_sink(name, path) as sink:
        sink.write("caf\udce9.mp4", SHOT)
    path.read_bytes().decode("utf-8")


def test_files_are_named_after_their_sources_and_namesakes_numbered() -> None:
    sources = ["x/a.mp4", "y/A.mkv", "-", "rtsp://host/cam1", "C:\\films\\b.avi", "x/a.mp4"]
    names = [path.name for path in paths_for(sources, Path("out"), "srt")]
    assert names == ["a.srt", "A-2.srt", "stdin.srt", "cam1.srt", "b.srt", "a-3.srt"]
