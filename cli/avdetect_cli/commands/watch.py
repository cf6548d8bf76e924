"""``avdetect watch``: one live feed in a terminal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avdetect_cli.options import (
    BundleOption,
    ClassesOption,
    CooldownOption,
    DeviceOption,
    EventChoices,
    MergeGapOption,
    MinDurationOption,
    PromptOption,
    ThresholdOption,
    chosen_prompts,
)
from avdetect_cli.values import parse_time

if TYPE_CHECKING:
    from avdetect.media.live_options import LiveOptions
    from avdetect.runtime.prompts import Prompt
    from avdetect.serve.feeds.listener import EngineListener

__all__ = ["watch"]

_SOURCE = "How the source is reached"


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
        bool, typer.Option("--realtime", help="Play a file, no faster than it lasts.", rich_help_panel=_SOURCE)
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Play it again and again.", rich_help_panel=_SOURCE)] = False,
    low_latency: Annotated[
        bool,
        typer.Option(
            "--low-latency",
            help="For cameras that never reorder pictures: do not wait for it.",
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
        typer.Option("--audio-rate", metavar="HZ", min=1, help="Of raw audio.", rich_help_panel=_SOURCE),
    ] = None,
    audio_channels: Annotated[
        int | None,
        typer.Option("--audio-channels", metavar="N", min=1, help="Of raw audio.", rich_help_panel=_SOURCE),
    ] = None,
    audio_track: Annotated[
        int | None,
        typer.Option(
            "--audio-track", metavar="N", min=0, help="Which of several sound tracks, from 0.", rich_help_panel=_SOURCE
        ),
    ] = None,
    ffmpeg: Annotated[
        list[str],
        typer.Option(
            "--ffmpeg",
            metavar="NAME=VALUE",
            help="An option of FFmpeg's protocols and demuxers; may be repeated.",
            rich_help_panel=_SOURCE,
        ),
    ] = [],  # noqa: B006 - typer copies it
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="Stop after so long: seconds or [hh:]mm:ss.")
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
    json: Annotated[bool, typer.Option("--json", help="Events, clips and gaps as JSON, a line each.")] = False,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Watch one live source: what happens, as it happens.

    It never gives up: what is lost is connected to again, and the time in between is reported as a gap. Ctrl-C ends it.
    """
    from avdetect.media.live_options import LiveOptions

    options = LiveOptions(
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
    _watch(
        url,
        options,
        EventChoices.parse(threshold, classes, min_duration, merge_gap, cooldown),
        prompts=chosen_prompts(prompt),
        duration_s=None if duration is None else parse_time(duration, "--duration"),
        clips=clips,
        json=json,
        bundle_path=bundle,
        device=device,
    )


def _watch(
    url: str,
    options: LiveOptions,
    choices: EventChoices,
    *,
    prompts: Sequence[Prompt],
    duration_s: float | None,
    clips: Path | None,
    json: bool,
    bundle_path: Path | None,
    device: str,
) -> None:
    from avdetect.media.redaction import redacted
    from avdetect.runtime.bundle import Bundle
    from avdetect.serve.feeds.clip_requests import ClipOptions
    from avdetect.serve.feeds.engine import Engine
    from avdetect.serve.feeds.live_feed import FeedSpec
    from avdetect.serve.feeds.supervisor import FeedAddress
    from avdetect.serve.secrets import expand_variables
    from avdetect.serve.signals import on_signals, stop_or_abort

    address = FeedAddress(expand_variables(url), options)
    _check_file(address.url, options)
    if clips is not None:
        _make_folder(clips)
    loaded = Bundle.load(bundle_path, prompts=prompts, device=device)
    names = loaded.manifest.class_names
    rules = tuple(choices.rules(names, loaded.manifest))
    feed = "standard input" if url == "-" else redacted(address.url)
    with ExitStack() as opened:
        engine = Engine(loaded, opened.enter_context(_view(feed, names, json=json)))
        engine.add(FeedSpec(feed, address, rules, ClipOptions(clips) if clips else None))
        if duration_s is not None:
            timer = threading.Timer(duration_s, engine.stop)
            timer.daemon = True
            opened.callback(timer.cancel)
            timer.start()
        opened.enter_context(on_signals(stop_or_abort(engine.stop, engine.abort)))
        engine.run(until_all_over=True)


def _view(feed: str, classes: Sequence[str], *, json: bool) -> AbstractContextManager[EngineListener]:
    from rich.console import Console

    from avdetect_cli.live_view import JsonLines, LinesView, LiveView

    if json:
        return nullcontext(JsonLines())
    console = Console()
    return LiveView(console, classes, feed) if console.is_terminal else LinesView(console, classes)


def _check_file(url: str, options: LiveOptions) -> None:
    """What is a file has to be there, and to be played like a camera."""
    from avdetect.errors import MediaError, UsageError

    if url == "-" or "://" in url or options.input_format is not None:
        return
    path = Path(url)
    if not path.exists():
        raise MediaError(f"{url}: no such file.")  # waiting for it would help nobody
    if path.is_file() and not options.realtime:
        raise UsageError(f"{url} is a file: play it with --realtime, or use `avdetect score`, which takes less time.")


def _make_folder(folder: Path) -> None:
    from avdetect.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}.") from error


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    from avdetect.errors import UsageError

    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--ffmpeg {text!r}: write NAME=VALUE, as in --ffmpeg rtsp_transport=http.")
        pairs[name] = value
    return pairs
