"""The interface of a source of media, and how to open one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from avdetect.media.packets import AudioChunk, MediaInfo, MediaNote, StreamPlan, VideoFrame

__all__ = ["Closing", "MediaSource", "open_source", "probe"]


class MediaSource(Protocol):
    """An open source of timestamped pictures and sound; a context manager."""

    @property
    def info(self) -> MediaInfo:
        """What the container says of itself."""
        ...

    @property
    def notes(self) -> list[MediaNote]:
        """What a user should know; grows while packets are read."""
        ...

    def packets(self) -> Iterator[VideoFrame | AudioChunk]:
        """Pictures and sound, once, each in order of time; both together in order of time where that is possible.

        A stream whose packets come too late in a pipe is not waited for without end: its items then follow later ones
        of the other stream.

        Raises:
            MediaError: reading fails for good.
        """
        ...

    def close(self) -> None:
        """Let go of files and decoders; may be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(
    uri: str | Path,
    plan: StreamPlan,
    *,
    audio_track: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    decoder_threads: int = 2,
) -> MediaSource:
    """Open a file, a URL that ends, or ``-`` for standard input.

    Args:
        uri: path, URL or ``-``.
        plan: what the snippet grid needs.
        audio_track: which of the audio tracks, counted from 0; by default the one a player would choose.
        start_s: where to start, seconds from the grid's origin. Times stay relative to the origin, and a little of
            what lies before is handed out too, so that the first snippet is the same as in a full run.
        duration_s: how much from there; everything by default.
        decoder_threads: for the video decoder.

    Raises:
        MediaError: it cannot be opened, or has neither picture nor sound that can be decoded.
        UsageError: there is no such audio track, or the start lies beyond the end.
    """
    from avdetect.media.file_source import FileSource  # FFmpeg is slow to load for those who only name the type

    return FileSource(
        uri,
        plan,
        audio_track=audio_track,
        start_s=start_s,
        duration_s=duration_s,
        decoder_threads=decoder_threads,
    )


def probe(uri: str | Path) -> MediaInfo:
    """What the container says of itself, without reading further than the first picture and sound.

    Raises:
        MediaError: it cannot be opened, or has neither picture nor sound that can be decoded.
    """
    from avdetect.media.file_source import probe_file

    return probe_file(uri)


class Closing(ABC):
    """A context manager that closes itself at its end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
