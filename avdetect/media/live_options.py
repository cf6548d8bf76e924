"""What an operator may choose for one live source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LiveOptions"]

_NOT_LINKED = frozenset({"srt", "rist", "pulse", "alsa"})
"""What PyAV's FFmpeg lacks, or, as ALSA, cannot be configured: the ``ffmpeg`` program reads it."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LiveOptions(BaseModel):
    """How to reach a source and how much of it to keep; the source itself is given apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: Literal["both", "audio", "video"] = "both"
    """Which streams to open: the other one is not decoded, and, over RTSP, not sent at all."""
    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP: how the media travel. UDP is a little quicker and loses packets."""
    open_timeout_s: Seconds = 10.0
    """A source that has not answered by then is given up and tried again later."""
    stall_timeout_s: Seconds = 10.0
    """A source that sends nothing for so long is given up and connected to again. HLS is silent between segments."""
    max_backoff_s: Seconds = 30.0
    """The longest wait between two attempts to connect."""
    low_latency: bool = False
    """Show pictures as they are decoded. For cameras that do not reorder pictures but do not say so either."""
    input_format: str | None = None
    """FFmpeg's name of a format that cannot be told from the source: ``v4l2``, ``alsa``, ``pulse``, ``s16le``,
    ``mpegts`` ..."""
    audio_rate_hz: Annotated[int, Field(gt=0)] | None = None
    """Of raw audio."""
    audio_channels: Annotated[int, Field(gt=0)] | None = None
    """Of raw audio."""
    ffmpeg_options: dict[str, str] = {}
    """Options of FFmpeg's protocols and demuxers by name; they outdo those set here."""
    audio_track: Annotated[int, Field(ge=0)] | None = None
    """Which of several sound tracks to hear, from 0; ``None`` for the one a player would choose."""
    realtime: bool = False
    """Read a file no faster than it plays."""
    loop: bool = False
    """Play a file again and again."""
    when_behind: Literal["drop", "wait"] | None = None
    """What to do when the machine cannot keep up: drop the oldest, or read no further, which only a pipe or a file can
    bear; ``None`` for what suits the source."""
    max_lag_s: Seconds = 5.0
    """Packets that have waited so long for the decoder are dropped."""
    max_skew_s: Seconds = 1.0
    """For how many seconds of one stream the other is waited for."""
    decoder_threads: Annotated[int, Field(ge=1)] = 1
    """For the pictures; more help where a single feed is too much for one processor."""
    ring_s: Seconds = 30.0
    """How much of what was received is kept for clips."""
    ring_megabytes: Annotated[float, Field(gt=0)] = 16.0
    """And how much at most."""
    max_clip_s: Seconds = 60.0
    """Clips of longer events end early."""

    def waits(self, *, is_patient: bool) -> bool:
        """Whether to read no further when the machine cannot keep up, rather than to drop the oldest.

        ``is_patient``: the source loses nothing by it.
        """
        return is_patient if self.when_behind is None else self.when_behind == "wait"

    def needs_program(self, url: str) -> bool:
        """Whether the source at ``url`` is read by the ``ffmpeg`` program, because the library cannot."""
        scheme, separator, _ = url.partition("://")
        return (separator != "" and scheme.lower() in _NOT_LINKED) or self.input_format in _NOT_LINKED
