"""``avdetect score`` and what follows from it, on the embedded bundle."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import avdetect
from avdetect.sinks.scores import read_scores
from avdetect_cli.app import app
from tests.synth.media import MediaFactory

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
SHOTS = ("--start", "6", "--duration", "0:04")
"""The part of the demo clip in which three shots are heard."""


def run(*arguments: str | Path, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


def process(
    *arguments: str | Path, stdin: BinaryIO | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "avdetect_cli", *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Path(shutil.copy(DEMO, tmp_path / "clip.mp4"))


@pytest.fixture(scope="module")
def silent(media: MediaFactory) -> Path:
    """Two seconds of picture in which nothing is heard."""
    return media.flash_and_tone("cli-silent.mp4", audio=(), duration_s=2.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scores of the shots."""
    path = tmp_path_factory.mktemp("scores") / "shots.npz"
    run("score", DEMO, *SHOTS, "--scores", path, "--quiet")
    return path


def test_a_summary_shows_the_timeline_and_the_events(clip: Path) -> None:
    result = run("score", clip, *SHOTS)

    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{clip}  ·  0:21  ·  320x192 h264 25 fps  ·  aac 48 kHz mono")
    assert any(line.split()[0] == "gunshot" and {*"▃▄▅▆▇█"} & {*line} for line in lines[2:-1] if line)
    [event] = [line.split() for line in lines if line.split()[2:3] == ["gunshot"]]
    assert event[0].startswith("0:07.")
    assert event[4] == "heard"
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_a_source_without_events_names_the_strongest_score(silent: Path) -> None:
    result = run("score", silent, "--threshold", "1")

    assert "  No events. The strongest was " in result.stdout
    assert "0 events in 0:02" in result.stdout


def test_json_is_one_document_per_input_with_what_failed(clip: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"

    result = run("score", missing, clip, *SHOTS, "--json", expect=1)

    failed, scored = (json.loads(line) for line in result.stdout.splitlines())
    assert (failed["source"], failed["events"]) == (str(missing), [])
    assert "no such file" in failed["error"]
    assert scored["error"] is None
    assert scored["bundle"]["name"]
    assert "gunshot" in {event["class"] for event in scored["events"]}
    assert result.stderr.splitlines() == [f"avdetect: {failed['error']}", "avdetect: 1 of 2 inputs failed."]


def test_notes_go_to_standard_error_where_a_program_reads_standard_output(silent: Path) -> None:
    said = run("score", silent, "--json")
    quiet = run("score", silent, "--json", "--quiet")

    assert said.stderr.startswith(f"avdetect: note: {silent}: ")
    assert quiet.stderr == ""
    assert json.loads(said.stdout)["notes"] == json.loads(quiet.stdout)["notes"]


def test_quiet_prints_nothing(clip: Path) -> None:
    assert run("score", clip, "--duration", "2", "--quiet").output == ""


def test_the_format_follows_from_the_name_of_the_output(clip: Path, tmp_path: Path) -> None:
    result = run("score", clip, *SHOTS, "-o", tmp_path / "events.srt")

    assert (tmp_path / "events.srt").read_text().startswith("1\n00:00:07,")
    assert "gunshot" in result.stdout  # the summary is for people, who still read standard output


def test_many_inputs_share_a_table_in_their_order(clip: Path, silent: Path, tmp_path: Path) -> None:
    table = tmp_path / "events.csv"

    run("score", clip, silent, DEMO, *("--duration", "9"), "--jobs", "3", "-o", table, "--scores", tmp_path / "s.csv")

    with table.open(newline="") as file:
        sources = [row["source"] for row in csv.DictReader(file)]
    assert sources == sorted(sources, key=[str(clip), str(silent), str(DEMO)].index)
    assert [curve.source for curve in read_scores(tmp_path / "s.csv")] == [str(clip), str(silent), str(DEMO)]


def test_many_inputs_get_a_caption_file_each_in_a_folder(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "captions").mkdir()

    run("score", clip, DEMO, *SHOTS, "--format", "vtt", "-o", tmp_path / "captions", "-q")

    assert sorted(path.name for path in (tmp_path / "captions").iterdir()) == ["clip.vtt", "demo.vtt"]


def test_thresholds_and_classes_choose_the_events(clip: Path) -> None:
    def labels(*options: str) -> set[str]:
        document = json.loads(run("score", clip, *SHOTS, "--json", *options).stdout)
        return {event["class"] for event in document["events"]}

    everything = labels()
    assert "gunshot" in everything
    assert labels("--classes", "gunshot") == {"gunshot"}
    assert labels("--threshold", "gunshot=1") == everything - {"gunshot"}
    assert labels("--threshold", "1", "--threshold", "gunshot=0.2") == {"gunshot"}
    assert labels("--min-duration", "60") == set()


def test_standard_input_is_scored() -> None:
    with DEMO.open("rb") as file:
        running = process("score", "-", *SHOTS, "--json", stdin=file)
        out, err = running.communicate(timeout=300)

    assert running.returncode == 0, err
    document = json.loads(out)
    assert document["source"] == "-"
    assert "gunshot" in {event["class"] for event in document["events"]}


def test_the_report_holds_all_inputs(clip: Path, silent: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    run("score", clip, silent, "--duration", "2", "--report", page, "-q")

    text = page.read_text("utf-8")
    assert "clip.mp4" in text
    assert "cli-silent.mp4" in text


def test_every_event_becomes_a_clip_even_of_namesakes(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    namesake = shutil.copy(clip, tmp_path / "other")

    result = run("score", clip, namesake, *SHOTS, "--json", "--classes", "gunshot", "--clips", tmp_path / "clips")

    assert [len(json.loads(line)["events"]) for line in result.stdout.splitlines()] == [1, 1]
    names = sorted(path.name for path in (tmp_path / "clips").iterdir())
    assert [name.split("_")[0] for name in names] == ["clip-2", "clip"]
    assert all(name.endswith("gunshot.mp4") for name in names)


def test_clips_are_cut_from_saved_scores(saved: Path, tmp_path: Path) -> None:
    run("events", saved, "--classes", "gunshot", "--clips", tmp_path / "clips", "-q")

    [name] = [path.name for path in (tmp_path / "clips").iterdir()]
    assert name.startswith("demo_00h00m07.")


def test_clips_of_a_file_that_is_gone_are_a_failure_of_that_input(clip: Path, tmp_path: Path) -> None:
    run("score", clip, *SHOTS, "--scores", tmp_path / "s.npz", "-q")
    clip.unlink()

    result = run("events", tmp_path / "s.npz", "--clips", tmp_path / "clips", expect=1)

    assert "gunshot" in result.stdout
    assert f"{clip} is missing or no regular file: clips can only be cut from a saved file." in result.stderr


def test_events_decided_again_are_those_of_scoring(saved: Path) -> None:
    scored = json.loads(run("score", DEMO, *SHOTS, "--json", "--threshold", "0.8").stdout)

    again = json.loads(run("events", saved, "--json", "--threshold", "0.8").stdout)

    assert again["events"] == scored["events"]
    assert again["source"] == scored["source"]


def test_events_of_saved_scores_have_the_same_outputs(saved: Path, tmp_path: Path) -> None:
    result = run(
        "events", saved, "--report", tmp_path / "r.html", "-o", tmp_path / "e.rttm", "--scores", tmp_path / "s.csv"
    )

    assert result.stdout.startswith(str(DEMO))
    assert "gunshot" in result.stdout
    assert (tmp_path / "e.rttm").read_text().startswith("SPEAKER ")
    assert (tmp_path / "r.html").stat().st_size > 1000
    np.testing.assert_allclose(
        read_scores(tmp_path / "s.csv")[0].scores, read_scores(saved)[0].scores, atol=1e-5, strict=True
    )


def test_the_demo_finds_the_shots_and_the_siren() -> None:
    document = json.loads(run("demo", "--json").stdout)

    assert {"gunshot", "siren"} <= {event["class"] for event in document["events"]}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interruption_keeps_what_was_finished(clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.ts")
    scores = tmp_path / "scores.npz"
    running = process("score", clip, tmp_path / "never.ts", *SHOTS, "--json", "--scores", scores)
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["source"] == str(clip)

    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=300)

    assert running.returncode == 130, err
    assert err.decode().splitlines()[-1] == "avdetect: interrupted; what was finished is kept."
    assert [curve.source for curve in read_scores(scores)] == [str(clip)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "never.ts", "scores.npz"]


def test_a_reader_that_leaves_is_no_error(clip: Path) -> None:
    with process("score", clip, "--duration", "2", "--json") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()

        assert running.stderr.read() == b""
        assert running.wait(60) == 141


def test_a_terminal_without_blocks_gets_plain_letters(clip: Path) -> None:
    running = process("score", clip, *SHOTS, environment={"PYTHONIOENCODING": "ascii", "COLUMNS": "60"})
    out, err = running.communicate(timeout=300)

    assert running.returncode == 0, err
    assert "+---" in out.decode("ascii")
    assert max(len(line) for line in out.decode("ascii").splitlines()[1:]) <= 60


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_progress_is_drawn_on_a_terminal_and_taken_away_again(clip: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "avdetect_cli", "score", clip, clip.with_name("missing.mp4"), "--json"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as running:
        os.close(theirs)
        assert running.stdout is not None
        documents = running.stdout.read().decode().splitlines()
        drawn = b""
        while piece := _read(ours):
            drawn += piece
    os.close(ours)

    text = drawn.decode()
    assert "x real time" in text
    assert "left" in text
    assert "of 2" in text
    assert text.endswith("avdetect: 1 of 2 inputs failed.\r\n")
    assert [json.loads(line)["source"] for line in documents] == [str(clip), str(clip.with_name("missing.mp4"))]


def _read(terminal: int) -> bytes:
    """What a terminal was sent; nothing once its program has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
