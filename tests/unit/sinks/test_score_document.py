"""What is said of one source, as a document; and reading it again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avdetect.errors import DataError
from avdetect.events.event import Event
from avdetect.manifest import ClassSpec, DetectorSpec, FileEntry, Manifest
from avdetect.media.packets import MediaInfo, MediaNote
from avdetect.runtime.pipeline import ScoreStats
from avdetect.sinks.formats import json_line, open_sink
from avdetect.sinks.score_document import read_events, source_document
from tests.synth.schemas import OF_MODELS, closed, made_of_model, schema

MANIFEST = Manifest(
    schema_version="1.0",
    name="default",
    version="2026.1",
    created="2026-01-01T00:00:00Z",
    hop_s=0.64,
    classes=(ClassSpec(name="gunshot"),),
    visual=None,
    motion=None,
    audio=None,
    detector=DetectorSpec(graph="detector.onnx", left_context_snippets=8, lookahead_snippets=2, embedding_dim=4),
    files=(FileEntry(path="detector.onnx", sha256="0" * 64, size=1),),
)
MEDIA = MediaInfo(
    uri="film.mp4",
    format="mov,mp4,m4a,3gp,3g2,mj2",
    duration_s=12.3456,
    origin_s=-0.0213333,
    video_codec="h264",
    width=1280,
    height=720,
    frame_rate_hz=30000 / 1001,
    pixel_format="yuv420p",
    rotation=90,
    audio_codec="aac",
    audio_rate_hz=48000,
    audio_channels=2,
    audio_tracks=("eng, aac, stereo",),
)
SHOT = Event("gunshot", 1.92, 3.2000000001, 2.24, 0.876543, "audio")
STATS = ScoreStats(elapsed_s=0.5, media_s=12.16, num_snippets=19, providers=("CPUExecutionProvider",))
FULL = source_document(
    "film.mp4",
    avdetect_version="0.1.0",
    bundle=MANIFEST,
    media=MEDIA,
    events=[SHOT],
    notes=[MediaNote("truncated", "The file ends early.", 11.0), MediaNote("no-video", "There is no picture.")],
    stats=STATS,
)
FAILED = source_document("none.mp4", avdetect_version="0.1.0", bundle=MANIFEST, error="none.mp4: no such file.")
FROM_SCORES = source_document("film.mp4", avdetect_version="0.1.0", bundle=None, events=[SHOT])
SOUND_ONLY = source_document(
    "a.wav", avdetect_version="0.1.0", bundle=MANIFEST, media=MediaInfo("a.wav", audio_codec="pcm_s16le")
)


@pytest.mark.parametrize("document", [FULL, FAILED, FROM_SCORES, SOUND_ONLY])
def test_documents_hold_exactly_what_their_schema_says(document: dict[str, object]) -> None:
    line = json_line(document)
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    jsonschema.validate(json.loads(line), closed(schema("score-document")))


@pytest.mark.parametrize("field", sorted(FULL))
def test_the_schema_misses_every_field_that_is_left_out(field: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=f"'{field}' is a required property"):
        jsonschema.validate({key: value for key, value in FULL.items() if key != field}, schema("score-document"))


def test_lines_of_events_hold_exactly_what_their_schema_says() -> None:
    text = io.StringIO()
    with open_sink("jsonl", text) as sink:
        sink.write("film.mp4", SHOT)
    jsonschema.validate(json.loads(text.getvalue()), closed(schema("event")))


def test_times_are_rounded_to_milliseconds_and_probabilities_to_four_places() -> None:
    document: Any = FULL
    assert document["events"] == [
        {"class": "gunshot", "start_s": 1.92, "end_s": 3.2, "peak_s": 2.24, "confidence": 0.8765, "modality": "audio"}
    ]
    assert document["media"]["duration_s"] == 12.346
    assert document["media"]["video"]["frame_rate_hz"] == 29.97
    assert document["stats"]["speed"] == 24.32


def test_a_source_that_failed_says_why_and_has_nothing_else() -> None:
    assert FAILED["error"] == "none.mp4: no such file."
    assert (FAILED["media"], FAILED["events"], FAILED["stats"]) == (None, [], None)


def test_what_is_no_number_never_reaches_a_line() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line({"x": float("nan")})


@pytest.mark.parametrize("name", OF_MODELS)
def test_the_schemas_in_the_documentation_are_those_of_the_models(name: str) -> None:
    assert schema(name) == made_of_model(name), "run `python -m tests.synth.schemas`"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_events_are_read_from_what_was_written(tmp_path: Path, form: str) -> None:
    target = tmp_path / f"found.{form}"
    with open_sink(form, target) as sink:
        sink.write("film.mp4", SHOT)

    ((source, event),) = read_events(target)

    assert (source, event.class_name, event.start_s, event.modality) == ("film.mp4", "gunshot", 1.92, "audio")


def test_events_are_read_from_documents_of_sources(tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    target.write_text(json_line(FULL) + json_line(FAILED))

    assert [(source, event.class_name) for source, event in read_events(target)] == [("film.mp4", "gunshot")]


OLD_EVENT = '{"label": "siren", "start_s": 1.0, "end_s": 2.5, "peak_s": 2.0, "confidence": 0.75, "modality": "visual"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("old.jsonl", OLD_EVENT + ', "source": "film.mp4"}\n'),
        ("old.json", '{"schema_version": "1.0", "source": "film.mp4", "events": [' + OLD_EVENT + "}]}\n"),
        (
            "old.csv",
            "source,label,start_s,end_s,peak_s,confidence,modality\nfilm.mp4,siren,1.0,2.5,2.0,0.75,visual\n",
        ),
    ],
)
def test_events_that_an_older_version_wrote_are_still_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    assert read_events(tmp_path / name) == [("film.mp4", Event("siren", 1.0, 2.5, 2.0, 0.75, "visual"))]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.jsonl", '{"source": "film.mp4", "class": "siren"}\n', "start_s: Field required"),
        ("b.jsonl", "no JSON at all\n", "Expecting value"),
        ("c.csv", "a,b\n1,2\n", "source: Field required"),
        ("d.jsonl", "3\n", "is not iterable"),
    ],
)
def test_what_holds_no_events_is_refused_in_a_sentence(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(DataError, match=reason):
        read_events(tmp_path / name)


def test_a_file_of_events_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_events(tmp_path / "none.jsonl")
