"""Credentials are taken out of all that is shown: URLs, and sentences that quote them."""

from __future__ import annotations

import re

__all__ = ["redacted"]

_MASK = "***"
# Repetitions that could begin at many places are bounded, so that no text takes long.
_USERINFO_WITH_SPACES = re.compile(r"(?<=://)[^\s/?#:@\[]{0,255}:(?!\d{1,5}(?![^\s/?#]))[^\n@]{0,255}@")
_AFTER_SCHEME = re.compile(r"(?<=://)\S+")
_AUTHORITY_END = re.compile(r"[/?#]")
_PARAMETER = re.compile(
    # SRT's stream id often holds a password.
    r"(?P<name>(?:pass|pwd|psw|secret|token|auth|key|sig|credential|session|jwt|bearer|streamid|\bsid\b)"
    r"[\w.\-\[\]%]{0,40}=)[^&;\s'\"<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?P<name>(?:authorization|cookie)\s{0,9}:\s{0,9})[^\r\n]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """Text fit for logs and pages: a URL, or a sentence with URLs in it, without credentials.

    User names and passwords, parameters that are named like a secret, and headers that carry one become ``***``. In
    doubt more is hidden rather than less. A secret that is a part of the path, as in some web hooks, cannot be told
    from other paths: show the host alone of those.
    """
    text = _USERINFO_WITH_SPACES.sub(f"{_MASK}@", text)
    text = _AFTER_SCHEME.sub(_without_userinfo, text)
    text = _PARAMETER.sub(rf"\g<name>{_MASK}", text)
    return _HEADER.sub(rf"\g<name>{_MASK}", text)


def _without_userinfo(match: re.Match[str]) -> str:
    """What follows a "://", with nothing shown of what lies before the last "@".

    FFmpeg takes passwords in which nobody escaped a "@" or "/". Only where the host is plain to see is a later "@" a
    part of the path: "http://host/@name".
    """
    authority = _AUTHORITY_END.split(match[0], maxsplit=1)[0]
    if "@" in match[0] and (":" in authority or "@" in authority):
        return f"{_MASK}@{match[0].rpartition('@')[2]}"
    return match[0]
