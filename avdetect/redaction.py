"""Credentials are taken out of all that is shown: URLs, and sentences that quote them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

__all__ = ["keep_secret", "kept_secrets", "redacted"]

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

_MIN_ANYWHERE = 4
"""A shorter secret is masked inside of addresses only: no sentence is readable without all of its "a" and "1"."""
_MIN_URL_PART = 8
"""Of a secret that is a whole URL, single parts as long as this are masked wherever they stand."""


class _Secrets:
    """What ``keep_secret`` was told in this process: a secret is one wherever it shows, whoever shows it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.values: frozenset[str] = frozenset()
        self.anywhere: re.Pattern[str] | None = None
        self.in_addresses: re.Pattern[str] | None = None

    def add(self, values: Iterable[str]) -> None:
        """Mask these too."""
        with self._lock:
            known = self.values | {value for value in values if value.strip()}
            if known == self.values:
                return
            spellings = {spelling for value in known for part in _parts(value) for spelling in _spellings(part)}
            self.anywhere = _any_of(spelling for spelling in spellings if len(spelling) >= _MIN_ANYWHERE)
            self.in_addresses = _any_of((text for text in spellings if len(text) < _MIN_ANYWHERE), whole=True)
            self.values = known


_SECRETS = _Secrets()


def keep_secret(values: Iterable[str]) -> None:
    """From here on ``redacted`` masks these values wherever they stand, in this process: see ``kept_secrets``."""
    _SECRETS.add(values)


def kept_secrets() -> frozenset[str]:
    """All values given to ``keep_secret``, for a process that is begun by this one."""
    return _SECRETS.values


def redacted(text: str) -> str:
    """Text fit for logs and pages: a URL, or a sentence with URLs in it, without credentials.

    User names and passwords, parameters that are named like a secret, and headers that carry one become ``***``. In
    doubt more is hidden rather than less. A secret that is a part of the path, as in some web hooks, cannot be told
    from other paths: it becomes ``***`` only once ``keep_secret`` knows it.
    """
    if _SECRETS.anywhere is not None:
        text = _SECRETS.anywhere.sub(_MASK, text)
    if (short := _SECRETS.in_addresses) is not None:
        text = _AFTER_SCHEME.sub(lambda match: short.sub(_MASK, match[0]), text)
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


def _parts(secret: str) -> Iterator[str]:
    """The secret, and of a URL also what libraries quote of it: without its scheme, its path, its longer parts."""
    yield secret
    _, separator, rest = secret.partition("://")
    if not separator:
        return
    yield rest
    authority, slash, path = rest.partition("/")
    if slash and len(path) >= _MIN_ANYWHERE:
        yield slash + path
    userinfo, at, _ = authority.rpartition("@")
    if at:
        yield from (part for part in userinfo.split(":") if len(part) >= _MIN_ANYWHERE)
    yield from (part for part in re.split(r"[/?&=#]", path) if len(part) >= _MIN_URL_PART)


def _spellings(secret: str) -> set[str]:
    """As it may be written: as it is, escaped for URLs or not any more, and in a quoted text."""
    plain = {secret, unquote(secret)}
    return plain | {form for text in plain for form in (quote(text), quote(text, safe=""), json.dumps(text)[1:-1])}


def _any_of(texts: Iterable[str], *, whole: bool = False) -> re.Pattern[str] | None:
    """Any of ``texts``, the longest first; ``whole``: not as a part of a longer word or number."""
    ordered = sorted(texts, key=len, reverse=True)
    pattern = "|".join(map(re.escape, ordered))
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)" if whole else pattern, re.IGNORECASE) if ordered else None
