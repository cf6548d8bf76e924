"""Hears recordings, some of them at once, with progress, and keeps an index of what was heard."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import typer

from avdetect.errors import MediaError, UsageError
from avdetect.media.find_sources import find_sources
from avdetect.media.location import STANDARD_INPUT, is_url
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.runtime.hearing import Ears, Heard
from avdetect.runtime.pipeline import Progress
from avdetect.runtime.sound_text import alignment_of
from avdetect.search.catalogue import Maker, Stamp
from avdetect.search.index import INDEX_NAME
from avdetect.search.index_writer import IndexWriter
from avdetect_cli.output.delivery import FAILED
from avdetect_cli.tasks.batch import Cancelled, in_order
from avdetect_cli.terminal.progress import ProgressDisplay
from avdetect_cli.terminal.text import say, show_duration

__all__ = ["Hearing", "hear_all", "update_index"]


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """A recording that was heard, or one that failed."""

    source: str
    stamp: Stamp
    """As the file was before it was heard; zeros where it failed."""
    heard: Heard | None
    """``None`` where it failed."""
    error: str
    """Why; empty where it did not."""

    @staticmethod
    def failed(source: str, error: str) -> Hearing:
        """Of a recording that could not be heard, and why."""
        return Hearing(source, Stamp(0, 0), None, error)


def hear_all(sources: Sequence[str], bundle: Path, *, device: str, jobs: int, quiet: bool) -> Iterator[Hearing]:
    """Hear files; in their order, each as soon as it and all before it were heard.

    Args:
        sources: what to hear; without any, nothing is loaded.
        bundle: what hears.
        device: where it runs.
        jobs: how many files at once.
        quiet: draw no progress and say nothing.

    Raises:
        AvdetectError: something is wrong that has nothing to do with a single file.
    """
    if not sources:
        return
    ears = Ears.open(bundle, device=device)
    for note in ears.notes:
        say(f"avdetect: note: {note}", quiet=quiet)
    cancel = threading.Event()

    def work(source: str) -> Hearing:
        def show(progress: Progress) -> None:
            if cancel.is_set():
                raise Cancelled
            display.update(source, progress)

        try:
            stamp = Stamp.of(source)
            return Hearing(source, stamp, ears.hear(source, on_progress=show), "")
        except OSError as error:
            raise MediaError(f"{source}: {error.strerror or error}.") from error
        finally:
            display.finish(source)

    with closing(ProgressDisplay(len(sources), enabled=sys.stderr.isatty() and not quiet)) as display:
        yield from in_order(sources, work, Hearing.failed, jobs=jobs, cancel=cancel)


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
    folder = _place(paths, output)
    sources, problems = find_sources(paths)
    for source in sources:
        if is_url(source) or source == STANDARD_INPUT:
            raise UsageError(f"an index is made of files, and {source} is none.")
    failures = [str(error) for _, error in problems]
    if sources:
        location = default_bundle_path() if bundle_path is None else bundle_path
        manifest = read_manifest(location)
        maker = Maker.of(manifest, alignment_of(location, manifest))
        started = time.monotonic()
        with IndexWriter(folder, maker, fresh=fresh) as writer:
            # A folder that is empty may be a disk that is not there: nothing is dropped for its sake.
            empty = {path for path, _ in problems}
            num_dropped = writer.drop_vanished([path for path in paths if path not in empty], sources)
            new = [source for source in sources if not _is_known(source, writer)]
            ends_s = []
            for one in hear_all(new, location, device=device, jobs=jobs, quiet=quiet):
                if one.heard is None:
                    failures.append(one.error)
                    writer.drop(one.source)
                else:
                    writer.add(one.source, one.stamp, one.heard.trace, one.heard.end_s)
                    ends_s.append(one.heard.end_s)
            num_kept = len(writer) - len(ends_s)
        speed = f" ({show_duration(sum(ends_s))} in {time.monotonic() - started:.1f} s)" if ends_s else ""
        say(f"{folder}: {len(ends_s)} recordings heard{speed}, {num_kept} kept, {num_dropped} dropped.", quiet=quiet)
    for failure in failures:
        typer.echo(f"avdetect: {failure}", err=True)
    if failures:
        raise typer.Exit(FAILED)


def _place(paths: Sequence[str], output: Path | None) -> Path:
    """Where the index goes."""
    if output is not None:
        return output
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return Path(paths[0]) / INDEX_NAME
    raise UsageError("only a single folder can have its index inside: say with -o where this one goes.")


def _is_known(source: str, writer: IndexWriter) -> bool:
    """Whether the index has it as it is now; a file that is not there is not known, and says why when it is heard."""
    try:
        return writer.holds(source, Stamp.of(source))
    except OSError:
        return False
