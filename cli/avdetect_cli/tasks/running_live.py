"""One live feed in a terminal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from avdetect.errors import MediaError, OutputError, UsageError
from avdetect.media.live_options import LiveOptions
from avdetect.redaction import redacted
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.clip_requests import ClipOptions
from avdetect.serve.feeds.engine import Engine
from avdetect.serve.feeds.listener import EngineListener
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress
from avdetect.serve.secrets import expand_variables
from avdetect.serve.signals import on_signals, stop_or_abort
from avdetect_cli.tasks.choices import EventChoices
from avdetect_cli.terminal.live_view import JsonLines, LinesView, LiveView

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["LiveOptions", "watch"]


def watch(
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
    """Watch one feed until it is over, or until somebody stops it.

    Raises:
        AvdetectError: something is wrong that waiting would not mend.
    """
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
    if json:
        return nullcontext(JsonLines())
    console = Console()
    return LiveView(console, classes, feed) if console.is_terminal else LinesView(console, classes)


def _check_file(url: str, options: LiveOptions) -> None:
    """What is a file has to be there, and to be played like a camera."""
    if url == "-" or "://" in url or options.input_format is not None:
        return
    path = Path(url)
    if not path.exists():
        raise MediaError(f"{url}: no such file.")  # waiting for it would help nobody
    if path.is_file() and not options.realtime:
        raise UsageError(f"{url} is a file: play it with --realtime, or use `avdetect score`, which takes less time.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}.") from error
