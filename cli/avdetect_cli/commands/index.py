"""``avdetect index``: hear recordings once, to ask of them often."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect.errors import UsageError
from avdetect_cli.options import BundleOption, DeviceOption, QuietOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from avdetect.search.index_writer import IndexWriter

__all__ = ["index"]


def index(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Folders (to any depth), files, or patterns such as 'cam*/*.mkv'."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="INDEX", help="The index, a folder.", show_default="inside the folder, hidden"
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever the index holds.")] = False,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="How many files to hear at once.")] = 1,
    quiet: QuietOption = False,
) -> None:
    """Hear recordings once, so that `avdetect query` answers at once.

    Give the same command again to bring an index up to date: what has not changed is not heard again, what has gone is
    dropped. An interrupted run keeps what it has heard. An hour takes 3 MB.
    """
    from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
    from avdetect.runtime.sound_text import alignment_of
    from avdetect.search.catalogue import Maker
    from avdetect.search.index_writer import IndexWriter
    from avdetect_cli.delivery import FAILED
    from avdetect_cli.hearing import hear_all
    from avdetect_cli.inputs import STDIN, find_sources, is_url
    from avdetect_cli.training import say
    from avdetect_cli.values import show_duration

    folder = _place(paths, output)
    sources, problems = find_sources(paths)
    for source in sources:
        if is_url(source) or source == STDIN:
            raise UsageError(f"an index is made of files, and {source} is none.")
    failures = [str(error) for _, error in problems]
    if sources:
        location = default_bundle_path() if bundle is None else bundle
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
    from avdetect.search.index import INDEX_NAME

    if output is not None:
        return output
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return Path(paths[0]) / INDEX_NAME
    raise UsageError("only a single folder can have its index inside: say with -o where this one goes.")


def _is_known(source: str, writer: IndexWriter) -> bool:
    """Whether the index has it as it is now; a file that is not there is not known, and says why when it is heard."""
    from avdetect.search.catalogue import Stamp

    try:
        return writer.holds(source, Stamp.of(source))
    except OSError:
        return False
