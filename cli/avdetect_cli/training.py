"""What the commands around training share."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avdetect.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from avdetect.training.embeddings import Encoders

__all__ = [
    "DATA_PANEL",
    "LEARNING_PANEL",
    "EmbeddingsOption",
    "SeedOption",
    "SettingsOption",
    "check_installed",
    "extraction_progress",
    "open_encoders",
    "parse_settings",
    "say",
]

DATA_PANEL = "What is learned from"
LEARNING_PANEL = "How it is learned"

EmbeddingsOption = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="DIR",
        help="Where the embeddings of videos and sounds are kept; what is missing is added.",
        show_default="DIR/embeddings",
        rich_help_panel=DATA_PANEL,
    ),
]
SettingsOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, as in recipe.hidden_dim=64; may be repeated; docs/training.md and docs/text.md list them.",
        rich_help_panel=LEARNING_PANEL,
    ),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, show_default="0", rich_help_panel=LEARNING_PANEL)
]


def check_installed(*packages: str) -> None:
    """Say what to install when a package of training is not there.

    Raises:
        UsageError: one is missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"this needs {', '.join(missing)}: pip install 'avdetect[train]'.")


def open_encoders(bundle: Path | None, device: str) -> Encoders:
    """The encoders of a bundle, the embedded one by default."""
    from avdetect.features.encoders import EncoderSessions
    from avdetect.runtime.bundle import Bundle
    from avdetect.training.embeddings import Encoders

    loaded = Bundle.load(bundle, device=device, all_encoders=True)
    return Encoders(loaded.manifest, EncoderSessions(loaded.visual, loaded.motion, loaded.audio))


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Nested values from ``recipe.epochs=30``; each is a TOML value, or text where it is none.

    Raises:
        UsageError: one is not KEY=VALUE, or a key is a section already.
    """
    import tomllib

    nested: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set {setting!r}: write KEY=VALUE, as in --set recipe.epochs=30.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = None if text == "none" else text
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {setting!r}: {section} was set to a value before.")
        place[last] = value
    return nested


@contextmanager
def extraction_progress(*, enabled: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr, on a terminal; gives what to call with the number of videos done and to do."""
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bars.add_task("extracting", total=None)

    def show(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)
        if 0 < done == total:
            bars.stop()  # what comes next has the terminal to itself
        elif total:
            bars.start()

    try:
        yield show
    finally:
        bars.stop()


def say(text: str, *, quiet: bool) -> None:
    """On stderr: what is done is no result."""
    if not quiet:
        typer.echo(text, err=True)
