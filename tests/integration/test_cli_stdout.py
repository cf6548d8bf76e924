"""Standard output that is full, closed or read by nobody, and signals that end a command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import avdetect
from avdetect.sinks.scores import read_scores

AVDETECT = [sys.executable, "-m", "avdetect_cli"]
DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
COMMANDS = {
    "help": ["--help"],
    "help of score": ["score", "--help"],
    "version": ["--version"],
    "score, summary": ["score", "clip.mp4", "--duration", "2"],
    "score, events": ["score", "clip.mp4", "--duration", "2", "-f", "csv"],
    "bundle show": ["bundle", "show"],
    "doctor": ["doctor"],
    "config init": ["config", "init"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(DEMO, tmp_path / "clip.mp4")
    return tmp_path


def run(arguments: Sequence[str], folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*AVDETECT, *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_behind_standard_output_is_one_sentence(arguments: list[str], folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(arguments, folder, stdout=full)

    assert done.stderr == "avdetect: cannot write to standard output: the disk is full.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_closed_standard_output_is_one_sentence(arguments: list[str], folder: Path) -> None:
    done = run(arguments, folder, preexec_fn=lambda: os.close(1))

    assert done.stderr == "avdetect: cannot write to standard output: it is closed.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_reader_that_has_left_ends_the_command_as_a_shell_expects(arguments: list[str], folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(arguments, folder, stdout=writer)
    finally:
        os.close(writer)

    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("how", ["full", "closed", "unread"])
def test_files_that_were_asked_for_are_written_whatever_becomes_of_standard_output(how: str, folder: Path) -> None:
    arguments = ["score", "clip.mp4", "--duration", "2", "--json", "--scores", "s.npz", "--report", "r.html"]
    if how == "closed":
        done = run(arguments, folder, preexec_fn=lambda: os.close(1))
    elif how == "full":
        with Path("/dev/full").open("w") as full:
            done = run(arguments, folder, stdout=full)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        done = run(arguments, folder, stdout=writer)
        os.close(writer)

    assert done.returncode == (141 if how == "unread" else 1)
    [line] = done.stderr.splitlines()
    assert line.startswith("avdetect: cannot write to standard output: ")
    assert [curve.source for curve in read_scores(folder / "s.npz")] == ["clip.mp4"]
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "r.html", "s.npz"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_keeps_what_is_finished_and_leaves_nothing_behind(number: signal.Signals, folder: Path) -> None:
    os.mkfifo(folder / "never.ts")
    arguments = ["score", "clip.mp4", "never.ts", "--duration", "2", "--json", "-o", "out.json"]
    arguments += ["--scores", "s.npz", "--quiet"]
    with subprocess.Popen([*AVDETECT, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        temporary = _wait_for_a_line(folder)
        running.send_signal(number)
        _, said = running.communicate(timeout=300)

    assert temporary
    assert running.returncode == 128 + number, said
    assert said.splitlines()[-1] == "avdetect: interrupted; what was finished is kept."
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "never.ts", "out.json", "s.npz"]
    assert (folder / "out.json").read_text().count("\n") == 1


def _wait_for_a_line(folder: Path) -> bool:
    """Until the first input is finished: its line is in the file that is being written."""
    for _ in range(2000):
        if any(path.stat().st_size for path in folder.glob(".*.json")):
            return True
        time.sleep(0.1)
    return False


def test_a_signal_that_is_ignored_stays_ignored(folder: Path) -> None:
    code = "import signal\nfrom avdetect_cli.interrupts import stop_on_signals\nstop_on_signals()\n"
    code += "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert done.stdout == "True\n"


def test_control_characters_of_a_name_never_reach_the_terminal(folder: Path) -> None:
    name = "e\x1b]0;title\a\x1b[31m\n\u202e\x9b.mp4"
    shutil.copy(DEMO, folder / name)
    (folder / "bad\x1b[2J.mp4").write_bytes(b"no media")
    done = subprocess.run(
        [*AVDETECT, "score", name, "bad\x1b[2J.mp4", "missing\x1b[2J.mp4", "--duration", "2"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    shown = done.stdout + done.stderr
    assert not [letter for letter in shown if letter in "\x1b\a\x9b\u202e"]
    assert "e\\x1b]0;title\\x07\\x1b[31m\\n\\u202e\\x9b.mp4" in done.stdout
    assert "bad\\x1b[2J.mp4" in done.stderr
    assert "missing\\x1b[2J.mp4" in done.stderr
