"""The command line as a whole."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from avdetect_cli import app as command_line
from avdetect_cli.app import app


def names() -> list[str]:
    return list(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what is left out."""
    monkeypatch.setattr(app, "registered_commands", app.registered_commands)
    monkeypatch.setattr(app, "registered_groups", app.registered_groups)


@pytest.mark.parametrize("name", names())
@pytest.mark.usefixtures("whole")
def test_a_command_that_is_named_is_built_alone_and_works(name: str) -> None:
    command_line._leave_out_all_but([name])
    assert names() == [name]
    assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["--help"], ["unheard-of"]])
@pytest.mark.usefixtures("whole")
def test_without_the_name_of_a_command_all_are_built(arguments: list[str]) -> None:
    before = names()
    command_line._leave_out_all_but(arguments)
    assert names() == before
