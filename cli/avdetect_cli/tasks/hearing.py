"""An index of what recordings sound like, made or brought up to date."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from avdetect.runtime.hearing import index
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.terminal.progress import ProgressDisplay
from avdetect_cli.terminal.stdout import FAILED
from avdetect_cli.terminal.text import say, show_duration, warn

__all__ = ["update_index"]


def update_index(
    paths: Sequence[str],
    output: Path | None,
    *,
    fresh: bool,
    bundle_path: Path | None,
    device: str,
    jobs: int,
    quiet: bool,
) -> None:
    """Hear what an index does not hold yet, and drop what is no longer there.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single file.
        typer.Exit: some file could not be heard.
    """
    check_outputs({}, folders={"-o": output})
    with closing(ProgressDisplay(enabled=sys.stderr.isatty() and not quiet, quiet=quiet)) as display:
        done = index(paths, output, bundle=bundle_path, device=device, jobs=jobs, fresh=fresh, listener=display)
    if done.num_files:
        speed = f" ({show_duration(done.heard_s)} in {done.elapsed_s:.1f} s)" if done.num_heard else ""
        counts = f"{done.num_heard} recordings heard{speed}, {done.num_kept} kept, {done.num_dropped} dropped"
        say(f"{done.folder}: {counts}.", quiet=quiet)
    for failure in done.errors:
        warn(failure)
    if done.errors:
        raise typer.Exit(FAILED)
