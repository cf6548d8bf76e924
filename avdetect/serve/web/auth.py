"""Who may ask: a token, a session cookie made from it, and no other site's page.

Without a token everyone who reaches the port may do everything, so that is possible on this machine only
(``check_exposure``), and under its own names only: a foreign page whose host name was made to point here is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import TimestampSigner
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from avdetect.errors import UsageError

__all__ = [
    "LOOPBACK_HOSTS",
    "MIN_TOKEN_CHARACTERS",
    "SESSION_COOKIE",
    "SESSION_S",
    "Gate",
    "GuessLimit",
    "Token",
    "check_exposure",
    "too_many_guesses",
]

SESSION_COOKIE = "avdetect_session"
SESSION_S = 90 * 24 * 3600
MIN_TOKEN_CHARACTERS = 16
FREE_GUESSES = 5
"""So many wrong tokens in a row may be a slip; from then on a client has to wait."""
FIRST_GUESS_WAIT_S = 1.0
MAX_GUESS_WAIT_S = 60.0
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

_OPEN_PATHS = frozenset({"/", "/favicon.ico", "/healthz", "/readyz", "/api/session"})
_OPEN_FOLDER = "/static/"
_GUESSES_COUNT_FOR_S = 900.0
_MAX_GUESSERS = 1000
_LOG_INTERVAL_S = 60.0
"""Between two lines of the log about one client."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_LOG = logging.getLogger(__name__)


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
    """A secret, and the signed session cookies that stand for it; a comparison takes the same time for any guess."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        # Not the token itself: who copies a browser's cookies has the session, and nothing to use elsewhere.
        self._signer = TimestampSigner(self._text, salt="avdetect web session", digest_method=hashlib.sha256)

    def matches(self, guess: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(self._text, guess.encode("utf-8", "surrogateescape"))

    def new_session(self) -> str:
        """Value of a cookie that admits a browser for ``SESSION_S``."""
        return self._signer.sign(secrets.token_hex(8)).decode()

    def knows_session(self, headers: Headers) -> bool:
        """Whether a request with these headers has such a cookie."""
        session = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE)
        return session is not None and self._signer.validate(session, max_age=SESSION_S)


class GuessLimit:
    """Slows down who tries tokens: a client that was wrong a few times has to wait, longer after each further guess.

    While it waits no token of it is looked at, not even the right one: else it could try them all at once.
    """

    def __init__(self, on_wrong: Callable[[], None] = lambda: None) -> None:
        self._on_wrong = on_wrong
        self._lock = threading.Lock()
        self._clients: dict[str, _Guesser] = {}

    def wait_s(self, client: str) -> float:
        """How long a client has still to wait; 0 for one that may try."""
        with self._lock:
            guesser = self._clients.get(_network(client))
            return 0.0 if guesser is None else max(guesser.blocked_until_s - time.monotonic(), 0.0)

    def was_wrong(self, client: str) -> None:
        """Count a wrong token, and log it."""
        self._on_wrong()
        now_s = time.monotonic()
        with self._lock:
            if len(self._clients) >= _MAX_GUESSERS:
                self._forget(now_s)
            guesser = self._clients.setdefault(_network(client), _Guesser())
            guesser.num_wrong += 1
            guesser.last_s = now_s
            wait_s = min(FIRST_GUESS_WAIT_S * 2.0 ** min(guesser.num_wrong - FREE_GUESSES, 16), MAX_GUESS_WAIT_S)
            guesser.blocked_until_s = now_s + (wait_s if guesser.num_wrong >= FREE_GUESSES else 0.0)
            is_told = guesser.num_wrong > 1 and now_s - guesser.logged_s < _LOG_INTERVAL_S
            if not is_told:
                guesser.logged_s = now_s
        if not is_told:
            _LOG.warning("web: a wrong token from %s, the %d. in a row", client, guesser.num_wrong)

    def was_right(self, client: str) -> None:
        """Forget what was wrong before."""
        with self._lock:
            self._clients.pop(_network(client), None)

    def _forget(self, now_s: float) -> None:
        """Make room: the guesses of long ago, or, where all are of just now, the oldest half."""
        by_age = sorted(self._clients, key=lambda name: self._clients[name].last_s)
        recent = [name for name in by_age if now_s - self._clients[name].last_s < _GUESSES_COUNT_FOR_S]
        kept = recent[-_MAX_GUESSERS // 2 :]
        self._clients = {name: self._clients[name] for name in kept}


@dataclass(slots=True)
class _Guesser:
    num_wrong: int = 0
    last_s: float = 0.0
    blocked_until_s: float = 0.0
    logged_s: float = 0.0


def _network(client: str) -> str:
    """Who has an IPv6 address has the 2**64 beside it too."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def too_many_guesses(wait_s: float) -> JSONResponse:
    """The answer to a client that has to wait."""
    seconds = math.ceil(wait_s)
    detail = f"Too many wrong tokens came from your address: try again in {seconds} s."
    return JSONResponse({"detail": detail}, 429, {"Retry-After": str(seconds)})


class Gate:
    """ASGI middleware: writes come from our own page or from a program, and what is not public needs the token.

    Open to all are the page without any data, its files, the health checks, and signing in.
    """

    def __init__(self, app: ASGIApp, token: Token | None, guesses: GuessLimit) -> None:
        self._app = app
        self._token = token
        self._guesses = guesses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401, 403 or 429."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else ""
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope), client)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Headers, client: str) -> JSONResponse | None:
        if method not in _SAFE_METHODS and _is_foreign_page(headers):
            return JSONResponse({"detail": "The page of another site may not change anything here."}, 403)
        is_open = path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)
        if self._token is None or is_open or self._token.knows_session(headers):
            return None
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and credentials.strip():
            wait_s = self._guesses.wait_s(client)
            if wait_s > 0:
                return too_many_guesses(wait_s)
            if self._token.matches(credentials.strip()):
                self._guesses.was_right(client)
                return None
            self._guesses.was_wrong(client)
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
