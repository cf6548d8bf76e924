"""The command line as a whole: which commands there are, and that only the one that is named is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from avdetect_cli.app import app
from avdetect_cli.lazy import LazyCommands

ROOT = get_command(app)


def commands_of(group: object) -> LazyCommands:
    commands = group.commands  # type: ignore[attr-defined]
    assert isinstance(commands, LazyCommands)
    return commands


def paths() -> list[list[str]]:
    """Every command by the words that name it, those of groups included."""
    found = []
    for name, command in commands_of(ROOT).items():
        found += [[name, inner] for inner in commands_of(command)] if hasattr(command, "commands") else [[name]]
    return found


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_every_command_is_found_by_its_name_and_explains_itself(path: list[str]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"])

    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: avdetect {' '.join(path)} ")


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_the_list_of_commands_says_what_the_command_says_of_itself(path: list[str]) -> None:
    group = ROOT if len(path) == 1 else commands_of(ROOT)[path[0]]
    command = commands_of(group)[path[-1]]

    assert dict(commands_of(group).summaries())[path[-1]] == command.get_short_help_str(1000)


def test_a_name_that_is_not_known_is_answered_with_a_similar_one() -> None:
    said = CliRunner().invoke(app, ["scroe", "a.mp4"])

    assert said.exit_code == 2
    assert "Did you mean 'score'?" in said.output


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [(["--help"], set()), (["score", "--help"], {"score"}), (["bundle", "show", "--help"], {"bundle"})],
)
def test_only_the_command_that_is_named_is_imported(arguments: list[str], imported: set[str]) -> None:
    code = (
        "import sys\nfrom avdetect_cli.app import main\n"
        f"sys.argv = ['avdetect', *{arguments!r}]\n"
        "try:\n    main()\n"
        "finally:\n"
        "    start = 'avdetect_cli.commands.'\n"
        "    print(*(name.removeprefix(start) for name in sys.modules if name.startswith(start)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert set(done.stderr.split()) == imported
