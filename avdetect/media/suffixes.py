"""What a media file is called: decides what is taken from a folder, never how a file is read."""

from __future__ import annotations

__all__ = ["MEDIA_SUFFIXES"]

# fmt: off
_VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m2v",
    ".m4v", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt",
    ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
)
_AUDIO_SUFFIXES = (
    ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".caf", ".dts", ".eac3", ".flac", ".m4a", ".m4b", ".mka",
    ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".weba", ".wma", ".wv",
)
# fmt: on
MEDIA_SUFFIXES = frozenset((*_VIDEO_SUFFIXES, *_AUDIO_SUFFIXES))
"""What is taken from a folder. A file that is named itself is tried whatever its suffix."""
