"""Finds events in video with sound: a streaming audio-visual detector trained from video-level labels.

import avdetect

result = avdetect.score("video.mp4")
for event in result.events:
    print(event.class_name, event.start_s, event.confidence)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avdetect.runtime.bundle import Bundle
    from avdetect.runtime.pipeline import ScoreOptions, ScoreResult, score, score_features, stream
    from avdetect.runtime.prompts import Prompt

__all__ = ["Bundle", "Prompt", "ScoreOptions", "ScoreResult", "__version__", "score", "score_features", "stream"]

__version__ = "0.1.0"

# Loaded when first used: ``import avdetect`` costs nothing, and loads neither onnxruntime nor FFmpeg.
_HOME = {
    "Bundle": "avdetect.runtime.bundle",
    "Prompt": "avdetect.runtime.prompts",
    "ScoreOptions": "avdetect.runtime.pipeline",
    "ScoreResult": "avdetect.runtime.pipeline",
    "score": "avdetect.runtime.pipeline",
    "score_features": "avdetect.runtime.pipeline",
    "stream": "avdetect.runtime.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
