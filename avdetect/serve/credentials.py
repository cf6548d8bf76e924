"""Credentials that are not written into a feed's URL but looked up."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from avdetect.errors import UsageError

__all__ = ["expand_variables", "with_credentials"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_variables(text: str) -> str:
    """``text`` with every ``${NAME}`` replaced by that environment variable, as it is.

    Raises:
        UsageError: one is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise UsageError(f"the environment variable {match[1]} is not set.")
        return found

    return _VARIABLE.sub(value, text)


def with_credentials(url: str, username: str, password: str) -> str:
    """``url`` with a user name and a password; what has a meaning in URLs is escaped.

    Raises:
        UsageError: the URL has a user name already, or no host to give one to.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UsageError("a user name and a password need a URL with a host, as in rtsp://camera/stream.")
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        raise UsageError("the URL has a user name already: give it only once.")
    return f"{scheme}://{quote(username, safe='')}:{quote(password, safe='')}@{rest}"
