"""``avdetect config``: configurations of ``avdetect serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["check", "init"]


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Where to write it; a file that is there stays.", show_default="standard output"
        ),
    ] = None,
) -> None:
    """Write a configuration with every setting explained."""
    import avdetect
    from avdetect.errors import OutputError
    from avdetect.sinks.atomic import replacing

    example = (Path(avdetect.__file__).parent / "assets" / "serve.toml").read_text("utf-8")
    if file is None:
        typer.echo(example, nl=False)
        return
    if file.exists():
        raise OutputError(f"{file} is there already and stays as it is.")
    with replacing(file) as temporary:
        temporary.write_text(example, "utf-8")
    typer.echo(f"Wrote {file}. Name your feeds in it, then: avdetect config check {file}; avdetect serve {file}")


def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration of `avdetect serve`.")]) -> None:
    """Say what is wrong with a configuration, or what it comes to."""
    from avdetect.media.redaction import redacted
    from avdetect.serve.config.loading import load_config

    loaded = load_config(file)
    config = loaded.config
    typer.echo(f"{file}: {len(loaded.feeds)} feed(s), {len(config.sinks)} sink(s), bundle {loaded.manifest.name}.")
    for prompt in loaded.prompts:
        typer.echo(f"  prompt {prompt.name}: {' / '.join(prompt.phrases)}")
    for feed in loaded.feeds:
        typer.echo(f"  feed {feed.name}: {redacted(feed.address.url)}")
    for name, settings in config.sinks.items():
        typer.echo(f"  sink {name}: {settings.type}")
    typer.echo(f"  store: {config.store.folder}")
    if config.web.enabled:
        typer.echo(f"  page: http://{config.web.host}:{config.web.port}/")
