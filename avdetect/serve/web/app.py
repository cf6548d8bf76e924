"""The application: start reading here. Every part of the interface is a router of ``routes``."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import avdetect
from avdetect.errors import StoreError, UsageError
from avdetect.serve.sinks.base import SetThreshold
from avdetect.serve.store import Store
from avdetect.serve.store.labels import CLIP_MARGIN_S
from avdetect.serve.web.auth import LOOPBACK_HOSTS, Gate, GuessLimit, Token
from avdetect.serve.web.events_stream import EventStreams
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.routes import (
    STATIC_FOLDER,
    events_router,
    feeds_router,
    files_router,
    page_router,
    probes_router,
)
from avdetect.serve.web.state import ServiceState

__all__ = ["SECURITY_HEADERS", "SecurityHeaders", "create_app"]

MAX_REQUESTS = 256
"""Fewer than the server takes connections, so that a probe always finds one."""
_PROBES = frozenset({"/healthz", "/readyz"})
_MIN_COMPRESSED_BYTES = 1000
_MAX_BODY_BYTES = 16 * 1024
"""Of a request: signing in is open to all, and the largest body that makes sense is a token."""


def create_app(
    state: ServiceState,
    store: Store,
    metrics: Metrics,
    token: str | None,
    clips_folder: Path,
    *,
    clip_margin_s: float = CLIP_MARGIN_S,
    set_threshold: SetThreshold,
) -> FastAPI:
    """The page, the interface, the probes.

    Args:
        state: what the feeds are doing.
        store: events, gaps and answers.
        metrics: what ``/metrics`` shows.
        token: what requests must bring along; ``None`` lets everyone in who asks under a loopback name.
        clips_folder: of the clips and thumbnails; nothing else is served from it, and nothing outside it.
        clip_margin_s: how much of the time before and after an event its clip shows, pre-roll and post-roll.
        set_threshold: what the page sets thresholds with.
    """
    secret = None if token is None else Token(token)
    guesses = GuessLimit(metrics.count_wrong_token)
    streams = EventStreams(state)
    app = FastAPI(
        title="avdetect",
        summary="Events in live video with sound: feeds, scores, events, clips.",
        version=avdetect.__version__,
        docs_url=None,  # their scripts come from a foreign host
        redoc_url=None,
        max_body_size=_MAX_BODY_BYTES,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Crowd),
            # Without a token: a page of another site whose name was made to point here must not read from us.
            *([Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS)] if secret is None else []),
            Middleware(Gate, token=secret, guesses=guesses),
            Middleware(GZipMiddleware, minimum_size=_MIN_COMPRESSED_BYTES),
        ],
    )
    app.state.streams = streams
    app.add_exception_handler(StoreError, _store_failed)
    app.add_exception_handler(UsageError, _misused)
    app.include_router(page_router(secret, guesses))
    app.include_router(feeds_router(state, streams, set_threshold))
    app.include_router(events_router(store, state, clips_folder, clip_margin_s))
    app.include_router(files_router(clips_folder))
    app.include_router(probes_router(state, metrics))
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER), "static")
    return app


class Crowd:
    """ASGI middleware: so many requests at once and no more, and always room for the probes beside them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._num_served = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 503."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        if self._num_served >= MAX_REQUESTS:
            refusal = JSONResponse({"detail": "Too many requests at once."}, 503, {"Retry-After": "5"})
            await refusal(scope, receive, send)
            return
        self._num_served += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._num_served -= 1


def _misused(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


def _store_failed(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)


SECURITY_HEADERS = {
    # Everything comes from here and nothing is inline, so injected text can neither run nor call home.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",  # no other page embeds a clip
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SecurityHeaders:
    """ASGI middleware: adds them to every answer, refusals included; what a browser keeps it asks for again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to what comes back."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)
