"""The same mistake has the same exit code and the same kind of sentence in every command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avdetect_cli.app import app

FILES = {
    "score, json": ("score a.mp4 --json -o", "x.json"),
    "score, scores": ("score a.mp4 --scores", "x.npz"),
    "score, report": ("score a.mp4 --report", "x.html"),
    "events": ("events a.npz --json -o", "x.json"),
    "demo": ("demo --report", "x.html"),
    "evaluate, json": ("evaluate a.npz a.csv -o", "x.json"),
    "evaluate, page": ("evaluate a.npz a.csv --page", "x.html"),
    "evaluate, scores": ("evaluate a.npz a.csv --scores", "x.npz"),
    "evaluate-text": ("evaluate-text a.safetensors a.csv -o", "x.json"),
    "query, json": ("query a.mp4 siren -o", "x.json"),
    "query, report": ("query a.mp4 siren --report", "x.html"),
    "labels export": ("labels export store -o", "x.jsonl"),
    "config init": ("config init", "x.toml"),
}
"""Every option that names a file to write: the command up to it, and a name it takes."""

FOLDERS = {
    "score": "score a.mp4 --clips",
    "events": "events a.npz --clips",
    "watch": "watch a.mp4 --realtime --clips",
    "index": "index a.mp4 -o",
    "train": "train a.csv -o",
    "train-text": "train-text a.csv -o",
    "extract": "extract a.csv -o",
    "compose": "compose a.csv -o",
    "export": "export a.safetensors -o",
    "import-checkpoint": "import-checkpoint a.pth -o",
    "calibrate": "calibrate bundle a.csv --false-alarms-per-hour 1 -o",
}
"""Every option that names a folder to write."""

INPUTS = {
    "score": "score MISSING.mp4",
    "score, bundle": "score a.mp4 --bundle MISSING",
    "events": "events MISSING.npz",
    "evaluate, model": "evaluate MISSING.npz a.jsonl",
    "evaluate, manifest": "evaluate a.npz MISSING.jsonl",
    "evaluate-text": "evaluate-text bundle MISSING.jsonl",
    "evaluate-text, prompts": "evaluate-text bundle sounds.jsonl --prompts MISSING.json",
    "calibrate, bundle": "calibrate MISSING a.jsonl --false-alarms-per-hour 1 -o new",
    "calibrate, manifest": "calibrate bundle MISSING.jsonl --false-alarms-per-hour 1 -o new",
    "query": "query MISSING.mp4 siren",
    "index": "index MISSING.mp4 -o new",
    "train": "train MISSING.jsonl -o new",
    "train, config": "train a.jsonl -o new --config MISSING.toml",
    "train-text": "train-text MISSING.jsonl -o new",
    "extract": "extract MISSING.jsonl -o new",
    "compose": "compose MISSING.jsonl -o new",
    "export": "export MISSING.safetensors -o new",
    "import-checkpoint": "import-checkpoint MISSING.pth -o new",
    "bundle show": "bundle show MISSING",
    "bundle verify": "bundle verify MISSING",
    "watch": "watch MISSING.mp4",
    "serve": "serve MISSING.toml",
    "config check": "config check MISSING.toml",
    "labels export": "labels export MISSING.toml -o new.jsonl",
}
"""Every argument and option that names something to read."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with inputs that are looked at after the targets."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "a.npz", "a.csv", "a.safetensors", "a.pth"):
        Path(name).write_bytes(b"not looked at")
    Path("a.jsonl").write_text('{"video": "a.mp4", "class": "siren"}\n')
    Path("sounds.jsonl").write_text('{"audio": "a.mp4", "text": "a siren"}\n')
    Path("store").mkdir()
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    return tmp_path


def said(command: str, target: str, code: int) -> str:
    """The one line on stderr of a command that is refused with ``code``, and leaves the folder as it was."""
    before = sorted(Path.cwd().iterdir())
    result = CliRunner().invoke(app, [*command.split(), *([target] if target else [])])
    assert result.exit_code == code, result.output
    assert sorted(Path.cwd().iterdir()) == before
    [line] = result.stderr.splitlines()
    assert line.startswith("avdetect: ")
    assert line.endswith(".")
    assert "internal error" not in line
    return line


@pytest.mark.parametrize(("command", "name"), FILES.values(), ids=FILES)
def test_a_folder_where_a_file_is_asked_for_is_misuse(command: str, name: str) -> None:
    Path(name).mkdir()
    assert "folder" in said(command, name, 2)


@pytest.mark.parametrize(("command", "name"), FILES.values(), ids=FILES)
def test_a_pipe_where_a_file_is_asked_for_is_misuse(command: str, name: str) -> None:
    os.mkfifo(name)
    assert f"{name} is no file that could be replaced" in said(command, name, 2)


@pytest.mark.parametrize(("command", "name"), FILES.values(), ids=FILES)
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("nowhere/{}", "there is no folder nowhere"),
        ("a.mp4/{}", "a.mp4 is not a folder|there is no folder a.mp4"),
        ("n" * 255 + "{}", "its name is too long"),
        ("loop/{}", "its symbolic links lead in a circle|there is no folder loop"),
        ("/proc/{}", "no file can be made in /proc"),
    ],
    ids=["missing", "below a file", "long", "circle", "refused"],
)
def test_a_file_that_cannot_be_written_is_a_failure(command: str, name: str, place: str, why: str) -> None:
    assert any(reason in said(command, place.format(name), 1) for reason in why.split("|"))


@pytest.mark.parametrize("command", FOLDERS.values(), ids=FOLDERS)
def test_a_file_where_a_folder_is_asked_for_is_misuse(command: str) -> None:
    assert "sounds.jsonl is a file: name a folder" in said(command, "sounds.jsonl", 2)


@pytest.mark.parametrize("command", FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("target", ["a.mp4/new", "n" * 256, "loop/new", "/proc/new"])
def test_a_folder_that_cannot_be_made_is_a_failure(command: str, target: str) -> None:
    assert f"cannot write {target}: " in said(command, target, 1)


@pytest.mark.parametrize("command", INPUTS.values(), ids=INPUTS)
def test_an_input_that_is_not_there_is_a_failure_that_names_it(command: str) -> None:
    result = CliRunner().invoke(app, command.split())

    assert result.exit_code == 1, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("avdetect: ")
    assert "MISSING" in last
    assert "internal error" not in last


@pytest.mark.parametrize(
    "command",
    [
        "score a.csv -f csv -o a.csv",
        "events a.csv -f csv -o a.csv",
        "events a.npz --scores a.npz",
        "evaluate a.npz a.csv --scores a.npz",
        "evaluate-text a.safetensors a.json -o a.json",
        "evaluate-text a.safetensors a.csv --prompts a.json -o a.json",
        "query a.json siren -o a.json",
        "query a.html siren --report ./a.html",
    ],
)
def test_an_output_in_the_place_of_an_input_is_misuse(command: str) -> None:
    for name in ("a.json", "a.html"):
        Path(name).write_text("{}")
    assert "is an input and would be overwritten" in said(command, "", 2)


@pytest.mark.parametrize(
    "command",
    [
        "score a.mp4 -o x.csv --scores x.csv",
        "evaluate a.npz a.csv -o x.json --page x.html --scores ./x.npz --bundle folder --json -o x.html",
    ],
)
def test_outputs_that_cannot_be_told_apart_are_misuse(command: str) -> None:
    assert "asked for twice" in said(command, "", 2) or "name that ends in" in said(command, "", 2)


@pytest.mark.parametrize(
    "command",
    [
        "score a.mp4 --report x.pdf",
        "events a.npz --report x.pdf",
        "evaluate a.npz a.csv --page x.pdf",
        "evaluate a.npz a.csv -o x.txt",
        "evaluate-text a.safetensors a.csv -o x.txt",
        "query a.mp4 siren --report x.pdf",
        "query a.mp4 siren -o x.txt",
        "labels export store -o x.csv",
    ],
)
def test_a_name_with_another_ending_is_misuse(command: str) -> None:
    assert "give it a name that ends in ." in said(command, "", 2)
