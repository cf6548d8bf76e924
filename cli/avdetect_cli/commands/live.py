"""``avdetect watch``, ``serve``, ``config`` and ``labels``: live feeds, and what operators say of their events."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avdetect.errors import UsageError
from avdetect.serve.signals import orders_by_signal
from avdetect_cli import tasks
from avdetect_cli.options import (
    BundleOption,
    ClassesOption,
    CooldownOption,
    DeviceOption,
    MergeGapOption,
    MinDurationOption,
    PromptOption,
    QuietOption,
    ThresholdOption,
)
from avdetect_cli.values import parse_time

__all__ = ["EXAMPLES", "check", "export_labels", "init", "serve", "watch"]

_SOURCE = "How the source is reached"

EXAMPLES = {
    "watch": """\b
Examples:
  avdetect watch rtsp://camera/stream
  avdetect watch 'rtsp://${USER_NAME}:${PASSWORD}@camera/stream' --clips clips/
  avdetect watch video.mp4 --realtime
  avdetect watch /dev/video0 --input-format v4l2
  arecord -t raw -f S16_LE -r 16000 | avdetect watch - --input-format s16le --audio-rate 16000 --json
""",
}
"""What help ends with, by the name of the function."""


class Transport(StrEnum):
    """How RTSP's media travel."""

    TCP = "tcp"
    UDP = "udp"


def watch(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="A URL (rtsp, rtmp, http, srt, udp, tcp), a device, a file, or - for standard input; ${NAME} stands "
            "for an environment variable.",
        ),
    ],
    transport: Annotated[
        Transport, typer.Option("--transport", help="How RTSP's media travel.", rich_help_panel=_SOURCE)
    ] = Transport.TCP,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.1,
            help="A source that is silent for so long is given up and connected to again.",
            rich_help_panel=_SOURCE,
        ),
    ] = 10.0,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime", help="Play a file as if it were live, no faster than it lasts.", rich_help_panel=_SOURCE
        ),
    ] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="With --realtime, play the file again and again.", rich_help_panel=_SOURCE)
    ] = False,
    low_latency: Annotated[
        bool,
        typer.Option(
            "--low-latency",
            help="Do not wait for pictures to be put in order, for cameras that never reorder them.",
            rich_help_panel=_SOURCE,
        ),
    ] = False,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            metavar="NAME",
            help="FFmpeg's name of a format it cannot tell by itself: v4l2, alsa, pulse, s16le, mpegts ...",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    audio_rate: Annotated[
        int | None,
        typer.Option(
            "--audio-rate", metavar="HZ", min=1, help="The sample rate of raw audio.", rich_help_panel=_SOURCE
        ),
    ] = None,
    audio_channels: Annotated[
        int | None,
        typer.Option(
            "--audio-channels", metavar="N", min=1, help="How many channels raw audio has.", rich_help_panel=_SOURCE
        ),
    ] = None,
    audio_track: Annotated[
        int | None,
        typer.Option(
            "--audio-track",
            metavar="N",
            min=0,
            help="Which of several sound tracks to hear, counted from 0.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    ffmpeg: Annotated[
        list[str],
        typer.Option(
            "--ffmpeg",
            metavar="NAME=VALUE",
            help="Set an option of FFmpeg's protocols and demuxers; may be repeated.",
            rich_help_panel=_SOURCE,
        ),
    ] = [],  # noqa: B006 - typer copies it
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="Stop after this time: seconds or [hh:]mm:ss.")
    ] = None,
    prompt: PromptOption = [],  # noqa: B006 - typer copies it
    threshold: ThresholdOption = [],  # noqa: B006
    classes: ClassesOption = None,
    min_duration: MinDurationOption = None,
    merge_gap: MergeGapOption = None,
    cooldown: CooldownOption = None,
    clips: Annotated[
        Path | None, typer.Option("--clips", metavar="FOLDER", help="Keep a clip and a picture of every event here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print events, clips and gaps as JSON, a line each.")] = False,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Watch one live source: what happens, as it happens.

    It never gives up: what is lost is connected to again, and the time in between is reported as a gap. Ctrl-C ends it.
    """
    options = tasks.running_live.LiveOptions(
        transport=transport.value,
        open_timeout_s=timeout,
        stall_timeout_s=timeout,
        realtime=realtime,
        loop=loop,
        low_latency=low_latency,
        input_format=input_format,
        audio_rate_hz=audio_rate,
        audio_channels=audio_channels,
        audio_track=audio_track,
        ffmpeg_options=_pairs(ffmpeg),
    )
    tasks.running_live.watch(
        url,
        options,
        tasks.choices.event_choices(threshold, classes, min_duration, merge_gap, cooldown),
        prompts=tasks.choices.chosen_prompts(prompt),
        duration_s=None if duration is None else parse_time(duration, "--duration"),
        clips=clips,
        json=json,
        bundle_path=bundle,
        device=device,
    )


def serve(
    file: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="`avdetect config init` writes one to begin with.")
    ],
) -> None:
    """Watch many live feeds: keep events with clips, send them on, show a page.

    SIGHUP reads the configuration again and leaves feeds that did not change alone. SIGTERM and Ctrl-C close what is
    open, deliver it and end.
    """
    with orders_by_signal() as orders:  # before all that takes time to load
        tasks.serving.serve(file, orders)


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Where to write it; a file that is there stays.", show_default="standard output"
        ),
    ] = None,
) -> None:
    """Write a configuration with every setting explained."""
    tasks.serving.write_example(file)


def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration of `avdetect serve`.")]) -> None:
    """Say what is wrong with a configuration, or what it comes to."""
    tasks.serving.check_config(file)


def export_labels(
    source: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="The configuration of `avdetect serve`, or the folder of its store."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The list, .jsonl; it names clips from its folder."),
    ],
    quiet: QuietOption = False,
) -> None:
    """Make a list to train from of the events that were confirmed and dismissed.

    The service may run meanwhile. `avdetect train` takes the list as it is.
    """
    tasks.serving.export_labels(source, output, quiet=quiet)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--ffmpeg {text!r}: write NAME=VALUE, as in --ffmpeg rtsp_transport=http.")
        pairs[name] = value
    return pairs
