"""Turns what a user pointed at (files, folders, patterns, URLs, standard input) into a list of sources."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from avdetect.errors import AvdetectError, MediaError, UsageError
from avdetect.media.location import STANDARD_INPUT, identity, is_url

__all__ = ["MEDIA_SUFFIXES", "find_sources"]

# fmt: off
_VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m2v",
    ".m4v", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt",
    ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
)
_AUDIO_SUFFIXES = (
    ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".caf", ".dts", ".eac3", ".flac", ".m4a", ".m4b", ".mka",
    ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".weba", ".wma", ".wv",
)
# fmt: on
MEDIA_SUFFIXES = frozenset((*_VIDEO_SUFFIXES, *_AUDIO_SUFFIXES))
"""What is taken from a folder. A file that is named itself is tried whatever its suffix."""


def find_sources(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, AvdetectError]]]:
    """The sources ``paths`` stand for, each once, in their order; and the paths that stand for none, with the reason.

    Raises:
        UsageError: standard input is named twice, or is a terminal.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input (-) can be scored once only.")
    sources: dict[str, str] = {}  # keyed by identity, so that a folder and a pattern may overlap
    problems: list[tuple[str, AvdetectError]] = []
    for path in paths:
        try:
            for source in _expand(path):
                sources.setdefault(identity(source), source)
        except MediaError as error:
            problems.append((path, error))
    return list(sources.values()), problems


def _expand(path: str) -> list[str]:
    if path == STANDARD_INPUT:
        if sys.stdin.isatty():
            raise UsageError("nothing is piped into standard input: name a file, or pipe one in (cat a.mp4 | ...).")
        return [path]
    if is_url(path):
        return [path]
    if os.path.isdir(path):  # noqa: PTH112 - a string throughout, so that names stay as they were typed
        found = sorted(_media_below(path))
        if not found:
            raise MediaError(f"the folder {path} holds no media file; name a file to try it whatever its suffix.")
        return found
    if not os.path.lexists(path) and glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
        if not matches:
            raise MediaError(f"no file matches {path}.")
        files = [match for match in matches if not os.path.isdir(match)]  # noqa: PTH112
        if not files:  # only folders match: what is in them is meant
            return [source for match in matches for source in _expand(match)]
        return files
    return [path]


def _media_below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if Path(name).suffix.lower() in MEDIA_SUFFIXES and not name.startswith("."):
                yield os.path.join(parent, name)  # noqa: PTH118
