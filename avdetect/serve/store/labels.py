"""What operators said of events, as a list of videos to train from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from avdetect.serve.store.store import Store, StoredEvent

__all__ = ["CLIP_MARGIN_S", "ClipLabel", "LabelledClips", "LeftOut", "labelled_clips"]

LeftOut = Literal["without a clip", "beside an event without an answer"]

CLIP_MARGIN_S = 5.0
"""Pre-roll and post-roll, where the configuration does not say otherwise."""

_LONGEST_EVENT = timedelta(hours=1)
"""How long before a clip an event may have begun that still goes on in it."""


@dataclass(frozen=True, slots=True)
class ClipLabel:
    """A clip, and what happens in it."""

    clip: str
    """File name."""
    class_names: tuple[str, ...]
    """Of the events in it; empty where the detector was wrong and nothing happens."""
    feed: str
    event_id: str

    def as_row(self, folder: Path) -> dict[str, object]:
        """A line of a training manifest, with the clip's path below ``folder``; the last two keys are for people."""
        known: dict[str, object] = {"classes": list(self.class_names)} if self.class_names else {"class": "normal"}
        return {"video": Path(folder, self.clip).as_posix(), **known, "feed": self.feed, "event_id": self.event_id}


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """All clips that can be learnt from."""

    clips: tuple[ClipLabel, ...]
    """In the order of their events."""
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    """How many answered events are not among them, and why."""

    def as_jsonl(self, folder: Path = Path()) -> str:
        """A training manifest, for the reader of ``avdetect train``, with the clips' paths below ``folder``."""
        return "".join(json.dumps(clip.as_row(folder), ensure_ascii=False) + "\n" for clip in self.clips)


def labelled_clips(store: Store, clips_folder: Path, *, margin_s: float = CLIP_MARGIN_S) -> LabelledClips:
    """Label the clips of answered events with everything that is known to happen in them.

    A clip shows more than its own event: a dismissed siren may be heard through a confirmed crash. So a clip has the
    classes of all confirmed events in it, and only where there are none it is normal. While an event in
    the clip of a dismissed one has no answer, it is not known to be normal, and is left out.

    Args:
        store: of the service; it may be running.
        clips_folder: of the clips; those that retention has removed are left out.
        margin_s: how much of the time before and after an event its clip shows.
    """
    margin = timedelta(seconds=margin_s)
    clips: list[ClipLabel] = []
    left_out: Counter[LeftOut] = Counter()
    for event in store.answers():
        if event.clip is None or not (clips_folder / event.clip).is_file():
            left_out["without a clip"] += 1
            continue
        shown = [event, *_others_in(event, margin, store)]
        class_names = tuple(dict.fromkeys(other.event.class_name for other in shown if other.answer == "confirmed"))
        if not class_names and any(other.answer is None for other in shown):
            left_out["beside an event without an answer"] += 1
            continue
        clips.append(ClipLabel(event.clip, class_names, event.feed, event.id))
    return LabelledClips(tuple(clips), left_out)


def _others_in(event: StoredEvent, margin: timedelta, store: Store) -> Iterator[StoredEvent]:
    """Other events of the feed that the event's clip shows a part of."""
    start, end = event.started_at - margin, event.ended_at + margin
    for other in store.events(feed=event.feed, since=start - _LONGEST_EVENT, until=end):
        if other.id != event.id and other.ended_at > start:
            yield other
