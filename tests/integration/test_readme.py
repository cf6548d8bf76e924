"""Every command and every program in the README does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import avdetect

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEMO = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SETUP = ("pip ", "pytest")
"""Installing and testing are what `.ci/run` does with the README's own lines."""


def _blocks(language: str) -> list[str]:
    return [body for found, body in BLOCK.findall((ROOT / "README.md").read_text("utf-8")) if found == language]


def _commands() -> list[str]:
    lines = "".join(_blocks("sh")).replace("\\\n", " ").splitlines()
    commands = [line.partition("  # ")[0].strip() for line in lines]
    return [command for command in commands if command and not command.startswith(SETUP)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader of the README is: with a video, and a folder of videos."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(DEMO, folder / "video.mp4")
    (folder / "videos").mkdir()
    for name in ("first.mp4", "second.mp4"):
        shutil.copy(DEMO, folder / "videos" / name)
    return folder


def _run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_shows_commands() -> None:
    assert len(_commands()) >= 10


@pytest.mark.parametrize("command", _commands())
def test_a_command_of_the_readme_succeeds(command: str, folder: Path) -> None:
    environment_bin = Path(sys.executable).parent
    _run(["bash", "-euo", "pipefail", "-c", f"PATH={shlex.quote(str(environment_bin))}:$PATH; {command}"], folder)


def test_the_output_shown_is_that_of_the_demo(folder: Path) -> None:
    [shown] = _blocks("text")
    *lines, how_fast = shown.rstrip().splitlines()

    printed = _run([sys.executable, "-m", "avdetect_cli", "demo"], folder)

    assert "\n".join(lines) in printed
    assert how_fast.partition("  ·")[0] in printed


@pytest.mark.parametrize("program", _blocks("python"))
def test_a_program_of_the_readme_runs(program: str, folder: Path) -> None:
    _run([sys.executable, "-W", "error", "-c", program], folder)
