"""Finds events in video with sound: a streaming audio-visual detector trained from video-level labels.

import avdetect

result = avdetect.score("video.mp4")
for event in result.events:
    print(event.class_name, event.start_s, event.confidence)

``docs/python.md`` lists what there is to import. Other modules may change in any release.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avdetect.errors import (
        AvdetectError,
        BundleError,
        CheckpointError,
        DataError,
        MediaError,
        OutputError,
        ProviderError,
        ScoresError,
        SoundIndexError,
        StoreError,
        UsageError,
    )
    from avdetect.events.curve import ScoreCurve
    from avdetect.events.event import Event, FeedEvent, FeedGap, SnippetScore
    from avdetect.events.rules import RuleOverrides
    from avdetect.events.segmenter import decide_events
    from avdetect.features.encoding import Progress
    from avdetect.manifest import EventRule
    from avdetect.media.find_sources import find_sources
    from avdetect.media.live_options import LiveOptions
    from avdetect.runtime.asking import QueryResult, query
    from avdetect.runtime.batch import BatchListener, FailedSource
    from avdetect.runtime.bundle import Bundle
    from avdetect.runtime.hearing import IndexUpdate, index
    from avdetect.runtime.pipeline import ScoreOptions, ScoreResult, score, score_many, stream
    from avdetect.runtime.prompts import Prompt
    from avdetect.runtime.scorer import score_features
    from avdetect.search.answer import HeardPhrase, Place
    from avdetect.serve.feeds.listener import ClipReady, FeedStatus, ScoredSnippet
    from avdetect.serve.one_feed import watch
    from avdetect.sinks.clips import cut_clips
    from avdetect.sinks.report import ReportEntry, write_report
    from avdetect.sinks.score_document import read_events
    from avdetect.sinks.scores import read_scores, write_scores

__all__ = [
    "AvdetectError",
    "BatchListener",
    "Bundle",
    "BundleError",
    "CheckpointError",
    "ClipReady",
    "DataError",
    "Event",
    "EventRule",
    "FailedSource",
    "FeedEvent",
    "FeedGap",
    "FeedStatus",
    "HeardPhrase",
    "IndexUpdate",
    "LiveOptions",
    "MediaError",
    "OutputError",
    "Place",
    "Progress",
    "Prompt",
    "ProviderError",
    "QueryResult",
    "ReportEntry",
    "RuleOverrides",
    "ScoreCurve",
    "ScoreOptions",
    "ScoreResult",
    "ScoredSnippet",
    "ScoresError",
    "SnippetScore",
    "SoundIndexError",
    "StoreError",
    "UsageError",
    "__version__",
    "cut_clips",
    "decide_events",
    "find_sources",
    "index",
    "query",
    "read_events",
    "read_scores",
    "score",
    "score_features",
    "score_many",
    "stream",
    "watch",
    "write_report",
    "write_scores",
]

__version__ = "0.1.0"

# Loaded when first used: ``import avdetect`` costs nothing, and loads neither onnxruntime nor FFmpeg.
_HOMES = {
    "avdetect.errors": (
        "AvdetectError",
        "BundleError",
        "CheckpointError",
        "DataError",
        "MediaError",
        "OutputError",
        "ProviderError",
        "ScoresError",
        "SoundIndexError",
        "StoreError",
        "UsageError",
    ),
    "avdetect.events.curve": ("ScoreCurve",),
    "avdetect.events.event": ("Event", "FeedEvent", "FeedGap", "SnippetScore"),
    "avdetect.events.rules": ("RuleOverrides",),
    "avdetect.events.segmenter": ("decide_events",),
    "avdetect.features.encoding": ("Progress",),
    "avdetect.manifest": ("EventRule",),
    "avdetect.media.find_sources": ("find_sources",),
    "avdetect.media.live_options": ("LiveOptions",),
    "avdetect.runtime.asking": ("QueryResult", "query"),
    "avdetect.runtime.batch": ("BatchListener", "FailedSource"),
    "avdetect.runtime.bundle": ("Bundle",),
    "avdetect.runtime.hearing": ("IndexUpdate", "index"),
    "avdetect.runtime.pipeline": ("ScoreOptions", "ScoreResult", "score", "score_many", "stream"),
    "avdetect.runtime.prompts": ("Prompt",),
    "avdetect.runtime.scorer": ("score_features",),
    "avdetect.search.answer": ("HeardPhrase", "Place"),
    "avdetect.serve.feeds.listener": ("ClipReady", "FeedStatus", "ScoredSnippet"),
    "avdetect.serve.one_feed": ("watch",),
    "avdetect.sinks.clips": ("cut_clips",),
    "avdetect.sinks.report": ("ReportEntry", "write_report"),
    "avdetect.sinks.score_document": ("read_events",),
    "avdetect.sinks.scores": ("read_scores", "write_scores"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
