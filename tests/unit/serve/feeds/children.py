"""What runs in the processes of feeds in these tests: a file's snippets, and the ways in which a process can fail."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from avdetect.manifest import Manifest
from avdetect.media.live_options import LiveOptions
from avdetect.media.packets import MediaInfo
from avdetect.media.source import open_source
from avdetect.serve.feeds.messages import Logged, SnippetReady, SnippetsTaken, Stop, StretchBegan, StretchEnded
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import Snippet, stream_plan
from avdetect.stage import through

ORIGIN_UNIX_S = 1_800_000_000.0
"""Wall-clock time at which every file begins."""


def snippets_of(url: str, manifest: Manifest) -> Iterator[Snippet]:
    """As ``score`` makes them."""
    with open_source(url, stream_plan(manifest)) as source:
        assembler = SnippetAssembler(
            manifest,
            has_video=source.info.video_codec is not None,
            has_audio=source.info.audio_codec is not None,
        )
        yield from through(source.packets(), assembler)


def play(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """The whole file, as fast as it is taken, and the end."""
    _play(connection, url, manifest, range(10**6))
    connection.send(StretchEnded(0, "ended", "The source has ended."))


def play_and_lose(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """The first fourteen snippets, in the middle of an event of the demo clip; then the connection is lost."""
    _play(connection, url, manifest, range(14))
    connection.send(StretchEnded(0, "stalled", "Nothing came for 5 s."))
    _wait_for_stop(connection)


def play_and_wait(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """The first fourteen snippets, in the middle of an event of the demo clip; then silence until stopped."""
    _play(connection, url, manifest, range(14))
    _wait_for_stop(connection)


def play_with_drops(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """All but snippets 12 and 13."""
    _play(connection, url, manifest, (index for index in range(10**6) if index not in (12, 13)), dropped_before=14)
    connection.send(StretchEnded(0, "ended", "The source has ended."))


def crash_once(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """Killed after ten snippets, the first time; a file that is named in the options remembers it."""
    marker = Path(options.ffmpeg_options["marker"])
    if marker.exists():
        play(connection, url, options, manifest)
        return
    marker.touch()
    _play(connection, url, manifest, range(10))
    os.kill(os.getpid(), signal.SIGKILL)


def crash(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """Killed at once, every time."""
    os.kill(os.getpid(), signal.SIGKILL)


def log_and_wait(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """A line for the log; then silence until stopped."""
    connection.send(Logged("avdetect.media", logging.WARNING, "its timestamps jump"))
    _wait_for_stop(connection)


def raise_with_password(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """An error that quotes the address."""
    raise ValueError(f"cannot open {url}")


def hang(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """Says that it is there, then nothing, and does not listen either."""
    connection.send(StretchBegan(0, ORIGIN_UNIX_S, 0.0, MediaInfo(url)))
    time.sleep(3600)


def wait_for_stop(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """Says that it is there, and that it has been stopped."""
    connection.send(StretchBegan(0, ORIGIN_UNIX_S, 0.0, MediaInfo(url)))
    _wait_for_stop(connection)
    connection.send(StretchEnded(0, "stopped", "Was stopped."))


def echo_standard_input(connection: Connection[Any, Any], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """What is to be read there, as a message."""
    connection.send(StretchEnded(0, "read", os.read(0, 100).decode()))


def _play(
    connection: Connection[Any, Any], url: str, manifest: Manifest, wanted: Any, dropped_before: int | None = None
) -> None:
    connection.send(StretchBegan(0, ORIGIN_UNIX_S, 0.0, MediaInfo(url)))
    wanted = iter(wanted)
    index = next(wanted, None)
    for snippet in snippets_of(url, manifest):
        if index is None:
            return
        if snippet.index != index:
            continue
        num_dropped = 2 if snippet.index == dropped_before else 0
        connection.send(SnippetReady(0, snippet, ORIGIN_UNIX_S + snippet.span.end_s, num_dropped))
        if not isinstance(connection.recv(), SnippetsTaken):
            return
        index = next(wanted, None)


def _wait_for_stop(connection: Connection[Any, Any]) -> None:
    while not isinstance(connection.recv(), Stop):
        pass
