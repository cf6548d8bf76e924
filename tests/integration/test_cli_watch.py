"""``avdetect watch``, with real sources."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import avdetect
from avdetect_cli.app import app
from tests.synth.feeds import free_port, running, sending
from tests.synth.media import MediaFactory

DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
WITHIN_S = 180.0
HOP_S = 0.64


@pytest.fixture(scope="module")
def shots(media: MediaFactory) -> Path:
    """Six seconds in which shots are heard."""
    return media.ffmpeg(
        "watch-shots.ts", "-ss", "5", "-t", "6", "-i", DEMO, "-c:v", "libx264", "-g", "25", "-c:a", "aac"
    )


def command(*arguments: str | Path) -> list[str]:
    # Encoded once more, the shots are not as clear as in the clip itself.
    sensitive = ("--threshold", "gunshot=0.1")
    return [sys.executable, "-m", "avdetect_cli", "watch", "--device", "cpu", *sensitive, *map(str, arguments)]


@contextmanager
def watching(*arguments: str | Path, stdin: int | None = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*arguments), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(WITHIN_S, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


def records(lines: Sequence[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_a_file_in_real_time_gives_events_as_json_lines_and_clips(shots: Path, tmp_path: Path) -> None:
    with watching(shots, "--realtime", "--json", "--clips", tmp_path) as process:
        output, errors = process.communicate()

    assert process.returncode == 0, errors
    found = records(output.splitlines())
    assert [record["stage"] for record in found if record["kind"] == "event"][:1] == ["opened"]
    closed = [record for record in found if record.get("stage") == "closed"]
    assert [(record["class"], record["interrupted"]) for record in closed] == [("gunshot", False)]
    assert closed[0]["started_at"].endswith("Z")
    assert closed[0]["end_s"] > closed[0]["start_s"] >= 0
    clip = next(record for record in found if record["kind"] == "clip")
    assert clip["id"] == closed[0]["id"]
    assert Path(clip["clip"]).stat().st_size > 0
    assert Path(clip["thumbnail"]).read_bytes()[:2] == b"\xff\xd8"


def test_standard_input_ends_with_its_events_closed(shots: Path) -> None:
    with shots.open("rb") as stream, watching("-", stdin=stream.fileno()) as process:
        output, errors = process.communicate()

    assert process.returncode == 0, errors
    assert [line.split()[1:3] for line in output.splitlines()[:2]] == [["opened", "gunshot"], ["closed", "gunshot"]]
    assert output.splitlines()[-1].startswith("1 event in 0:06 (gunshot x1)")


def test_interrupting_closes_what_is_open(shots: Path) -> None:
    with watching(shots, "--realtime", "--loop") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()

    assert process.returncode == 0, errors
    assert "opened  gunshot" in first
    assert any("closed  gunshot" in line for line in output.splitlines())
    assert "gunshot x1" in output.splitlines()[-1]


@pytest.mark.slow
def test_a_source_that_comes_later_is_found_and_its_loss_is_a_gap(shots: Path) -> None:
    port = free_port()
    url = f"tcp://user:hunter2@127.0.0.1:{port}"
    with watching(url, "--json", "--timeout", "1") as process:
        assert process.stdout is not None
        [refused] = records([process.stdout.readline()])
        with running(sending(shots, f"tcp://127.0.0.1:{port}?listen=1", "-f", "mpegts")):
            [found] = records([process.stdout.readline()])
            opened = records([process.stdout.readline()])
            while not (opened[-1]["kind"] == "gap" and opened[-1]["ended_at"] is None):
                opened += records([process.stdout.readline()])
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate()

    assert process.returncode == 0, errors
    assert (refused["kind"], refused["reason"], refused["ended_at"]) == ("gap", "refused", None)
    assert (found["kind"], found["reason"], found["ended_at"] is not None) == ("gap", "refused", True)
    assert [record["class"] for record in opened if record.get("stage") == "opened"] == ["gunshot"]
    assert "hunter2" not in json.dumps([refused, found, *opened]) + rest + errors


@pytest.mark.slow
def test_a_live_feed_has_the_events_of_the_file(shots: Path) -> None:
    port = free_port()
    with (
        running(sending(shots, f"tcp://127.0.0.1:{port}?listen=1", "-f", "mpegts")),
        watching(f"tcp://127.0.0.1:{port}", "--json", "--threshold", "0.1") as process,
    ):
        assert process.stdout is not None
        found = records([process.stdout.readline()])
        while found[-1]["kind"] != "gap" or found[-1]["ended_at"] is not None or found[-1]["start_s"] == 0:
            found += records([process.stdout.readline()])

    live = [record for record in found if record.get("stage") == "closed"]
    file = CliRunner().invoke(app, ["score", "--device", "cpu", "--json", "--threshold", "0.1", str(shots)])
    expected = json.loads(file.stdout)["events"]
    assert len(expected) > 0
    assert sorted(event["class"] for event in live) == sorted(event["class"] for event in expected)
    for event in expected:
        [same] = [
            one for one in live if one["class"] == event["class"] and abs(one["start_s"] - event["start_s"]) < HOP_S
        ]
        assert same["end_s"] == pytest.approx(event["end_s"], abs=HOP_S)


@pytest.mark.slow
def test_it_stops_after_the_duration_that_was_asked_for(media: MediaFactory) -> None:
    silent = media.flash_and_tone("watch-silent.mp4", audio=(), duration_s=2.0)

    with watching(silent, "--realtime", "--loop", "--duration", "4") as process:
        output, errors = process.communicate()

    assert process.returncode == 0, errors
    assert output.splitlines()[-1].startswith("0 events in ")


@pytest.mark.slow
def test_a_terminal_shows_curves(shots: Path) -> None:
    leader, follower = os.openpty()
    shown = b""
    with subprocess.Popen(
        command(shots, "--realtime"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(follower)
        try:
            while data := os.read(leader, 4096):
                shown += data
        except OSError:  # the other end has been closed
            pass
        finally:
            os.close(leader)
            process.kill()

    text = shown.decode()
    assert "running" in text
    assert "gunshot" in text
    assert {*"▂▃▄▅▆▇█"} & {*text}
    assert "1 event in 0:06" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.mp4"], 1, "none.mp4: no such file."),
        ([str(DEMO)], 2, "is a file: play it with --realtime"),
        (["rtsp://${NOT_SET_ANYWHERE}/x"], 2, "the environment variable NOT_SET_ANYWHERE is not set."),
        (["rtsp://camera", "--ffmpeg", "x"], 2, "--ffmpeg 'x': write NAME=VALUE"),
        (["rtsp://camera", "--classes", "dragon"], 2, "no class is called dragon"),
    ],
)
def test_misuse_is_told(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(app, ["watch", "--device", "cpu", *arguments])

    assert result.exit_code == code
    assert message in result.stderr
