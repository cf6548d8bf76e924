"""Who may ask: a token, a session cookie made from it, and no other site's page.

Without a token everyone who reaches the port may do everything, so that is possible on this machine only
(``check_exposure``), and under its own names only: a foreign page whose host name was made to point here is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from avdetect.errors import UsageError

__all__ = ["LOOPBACK_HOSTS", "MIN_TOKEN_CHARACTERS", "SESSION_COOKIE", "Gate", "Token", "check_exposure"]

SESSION_COOKIE = "avdetect_session"
MIN_TOKEN_CHARACTERS = 16
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

_OPEN_PATHS = frozenset({"/", "/favicon.ico", "/healthz", "/readyz", "/api/session"})
_OPEN_FOLDER = "/static/"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_exposure(host: str, token: str | None) -> None:
    """Refuse to be reachable from other machines without a token that is hard to guess.

    Args:
        host: what will be listened on; a name counts as reachable, except ``localhost``.
        token: what requests must bring along; ``None`` for no check.

    Raises:
        UsageError: the token is missing, too short, or cannot stand in a header.
    """
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError("web token: use printable ASCII characters without spaces, for it is sent in a header.")
    if _is_loopback(host):
        return
    if token is None:
        raise UsageError(
            f"web host {host!r} can be reached from other machines: set a token, or listen on 127.0.0.1 only."
        )
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise UsageError(
            f"web token: {len(token)} characters are too few for a host that other machines can reach; "
            f"use {MIN_TOKEN_CHARACTERS} or more, `openssl rand -hex 24` makes one."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Token:
    """A secret, and the session cookie that stands for it; comparing either takes the same time for any guess."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        # Not the token itself: who copies a browser's cookies has the sessions, and nothing to use elsewhere.
        self.session = hmac.new(self._text, b"avdetect web session", hashlib.sha256).hexdigest()

    def matches(self, guess: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(self._text, guess.encode("utf-8", "surrogateescape"))

    def admits(self, headers: Headers) -> bool:
        """Whether a request with these headers may pass: ``Authorization: Bearer ...`` or the session cookie."""
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.matches(credentials.strip()):
            return True
        session = _cookie(headers, SESSION_COOKIE)
        return session is not None and hmac.compare_digest(self.session.encode(), session.encode())


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


class Gate:
    """ASGI middleware: writes come from our own page or from a program, and what is not public needs the token.

    Open to all are the page without any data, its files, the health checks, and signing in.
    """

    def __init__(self, app: ASGIApp, token: Token | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        if method not in _SAFE_METHODS and _is_foreign_page(headers):
            return JSONResponse({"detail": "The page of another site may not change anything here."}, 403)
        is_open = path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)
        if self._token is None or is_open or self._token.admits(headers):
            return None
        return JSONResponse(
            {"detail": "Send the token: Authorization: Bearer TOKEN, or sign in on the page."},
            401,
            {"WWW-Authenticate": 'Bearer realm="avdetect"'},
        )


def _is_foreign_page(headers: Headers) -> bool:
    """Browsers say where a request comes from; programs say nothing, and have no cookie that could be misused."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
