"""The configuration of ``avdetect serve``: what may be set, how it is read, and what it comes to."""

from __future__ import annotations

from avdetect.serve.config.loading import CLIPS_FOLDER, FIXED, STORE_FILE, LoadedConfig, load_config
from avdetect.serve.config.reading import ConfigFile, read_config
from avdetect.serve.config.settings import (
    ClipSettings,
    Config,
    FeedSettings,
    HourSettings,
    LogSettings,
    ModelSettings,
    StoreSettings,
    WebSettings,
)

__all__ = [
    "CLIPS_FOLDER",
    "FIXED",
    "STORE_FILE",
    "ClipSettings",
    "Config",
    "ConfigFile",
    "FeedSettings",
    "HourSettings",
    "LoadedConfig",
    "LogSettings",
    "ModelSettings",
    "StoreSettings",
    "WebSettings",
    "load_config",
    "read_config",
]
