"""One live feed in a terminal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from avdetect.events.rules import RuleOverrides
from avdetect.media.live_options import LiveOptions
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.listener import EngineListener
from avdetect.serve.one_feed import check_feed, feed_name, open_feed
from avdetect.serve.secrets import expand_variables
from avdetect.serve.signals import on_signals, stop_or_abort
from avdetect_cli.output.targets import check_outputs
from avdetect_cli.terminal.live_view import JsonLines, LinesView, LiveView

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["LiveOptions", "watch"]


def watch(
    url: str,
    options: LiveOptions,
    choices: RuleOverrides,
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
    address = expand_variables(url)
    check_outputs({}, folders={"--clips": clips}, with_parents=True)
    check_feed(address, options, clips)
    loaded = Bundle.load(bundle_path, prompts=prompts, device=device)
    names = loaded.manifest.class_names
    rules = choices.rules(names, loaded.manifest)
    with ExitStack() as opened:
        view = opened.enter_context(_view(feed_name(address), names, json=json))
        engine = open_feed(address, view, loaded, options=options, rules=rules, clips=clips)
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
