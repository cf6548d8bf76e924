"""What a configuration needs of the machine: that files and programs are there, and that nobody else may change it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from avdetect.media.pipe import ffmpeg_program
from avdetect.serve.config.mistakes import Mistake
from avdetect.serve.config.reading import STANDARD, ConfigFile
from avdetect.serve.config.settings import Config
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.sinks.settings import CommandSettings, FileSettings

__all__ = ["exposure_notes", "missing_things"]


def missing_things(config: Config, feeds: Iterable[FeedSpec]) -> Iterator[Mistake]:
    """Files, devices, folders and programs that a configuration names and that are not there."""
    for feed in feeds:
        address, path = feed.address, ("feeds", feed.name, "url")
        if address.options.needs_program(address.url) and ffmpeg_program() is None:
            yield Mistake(path, "is read by the ffmpeg program, which is not installed.")
        file = _local_path(address.url)
        if file is not None and not file.exists():
            kind = "file" if address.options.input_format is None else "file or device"
            yield Mistake(path, f"there is no {kind} {file}.")
    for name, sink in config.sinks.items():
        if isinstance(sink, CommandSettings) and shutil.which(sink.argv[0]) is None:
            is_there = "/" in sink.argv[0] and Path(sink.argv[0]).exists()
            said = "cannot be run; is it executable?" if is_there else "is no program that is installed."
            yield Mistake(("sinks", name, "argv"), f"{sink.argv[0]} {said}")
        if isinstance(sink, FileSettings) and sink.path != STANDARD and not Path(sink.path).parent.is_dir():
            yield Mistake(("sinks", name, "path"), f"there is no folder {Path(sink.path).parent}.")
    nearest = next(part for part in (config.store.folder, *config.store.folder.parents) if part.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Mistake(("store", "folder"), f"{config.store.folder} cannot be written to.")


def _local_path(url: str) -> Path | None:
    """What a feed's address names on this machine; ``None`` for all that is not a path."""
    return None if "://" in url or url == STANDARD or not url.startswith("/") else Path(url)


def exposure_notes(file: ConfigFile) -> Iterator[str]:
    """Who else may read or change the configuration and the store, in sentences."""
    if os.name != "posix":
        return
    store = file.config.store.folder
    yield from _exposed(file.path, "600", "it may hold credentials")
    if store.is_dir():
        yield from _exposed(store, "700", "it holds what was seen and heard")


def _exposed(path: Path, mode: str, why: str) -> Iterator[str]:
    try:
        bits = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if bits & (stat.S_IWGRP | stat.S_IWOTH):
        yield f"other users of this machine may change {path} (mode {bits:03o}): chmod {mode} {path}"
    elif bits & stat.S_IROTH:
        yield f"all users of this machine may read {path} (mode {bits:03o}), and {why}: chmod {mode} {path}"
