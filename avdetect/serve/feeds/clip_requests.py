"""Which clips an event asks for, and whose clip it is that has been cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from avdetect.events.event import FeedEvent
from avdetect.serve.feeds.listener import ClipReady
from avdetect.serve.feeds.messages import ClipCut, CutClip

__all__ = ["EARLY", "ClipOptions", "clip_ready", "clip_requests", "replaced_files"]

EARLY = "-early"
"""Ends the name of a clip that a whole one will replace."""


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What to keep of the media around an event."""

    folder: Path
    pre_roll_s: float = 5.0
    post_roll_s: float = 5.0
    early: bool = False
    """Whether a first clip, up to the present, is cut as soon as the event opens; the whole one replaces it."""


def clip_requests(event: FeedEvent, options: ClipOptions, stretch: int, stretch_start_s: float) -> list[CutClip]:
    """What to ask for when an event has been reported.

    When it opens, a clip without an end, so that what came since its start is kept; when it has closed, the same clip
    with its end.

    Args:
        event: just reported.
        options: what is wanted.
        stretch: the one that the event is in.
        stretch_start_s: media time of the feed at that stretch's origin.
    """

    def request(name: str, end_s: float) -> CutClip:
        return CutClip(
            request=name,
            stretch=stretch,
            start_s=max(event.event.start_s - stretch_start_s - options.pre_roll_s, 0.0),
            end_s=end_s,
            thumbnail_s=event.event.peak_s - stretch_start_s,
            folder=options.folder,
        )

    seen_s = event.event.end_s - stretch_start_s
    if event.stage == "closed":
        return [request(event.id, seen_s + options.post_roll_s)]
    if event.stage == "opened":
        early = [request(event.id + EARLY, seen_s)] if options.early else []
        return [*early, request(event.id, math.inf)]
    return []


def clip_ready(feed: str, cut: ClipCut) -> ClipReady:
    """The answer to one of these requests, as it is reported."""
    event_id = cut.request.removesuffix(EARLY)
    return ClipReady(feed, event_id, cut.clip, cut.thumbnail, cut.message, early=event_id != cut.request)


def replaced_files(ready: ClipReady) -> list[Path]:
    """The files of the early clip that nobody needs once those of the whole clip are known."""
    if ready.early:
        return []
    paths = (ready.clip, ready.thumbnail)
    return [path.with_name(f"{ready.event_id}{EARLY}{path.suffix}") for path in paths if path is not None]
