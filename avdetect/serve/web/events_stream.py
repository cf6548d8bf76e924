"""Server-sent events: what changes, as it changes, for as long as somebody reads it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette.event import JSONServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from avdetect.serve.web.state import ServiceState, Subscription

__all__ = ["EventStreams"]

FEEDS_EVERY_S = 5.0
"""How often all feeds are sent as they are: with it the page sees that the connection lives, and what has left."""
SLOW_CLIENT_S = 20.0
"""A client that has not taken a message in this time is dropped; it may come back and ask for what it missed."""
MAX_STREAMS = 64

_LOG = logging.getLogger(__name__)


class EventStreams:
    """The streams of all clients. Used in the web server's event loop, except for ``end``."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._service = secrets.token_hex(8)  # after a restart the sequence numbers begin anew: clients must know
        self._open: set[asyncio.Event] = set()
        self._ended = False

    def is_full(self) -> bool:
        """Whether another client would be one too many."""
        return len(self._open) >= MAX_STREAMS

    def response(self) -> EventSourceResponse:
        """A stream for one client; ``feeds`` comes often enough to make pings needless."""
        return _EventStream(self._messages(), ping=0, send_timeout=SLOW_CLIENT_S)

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """End all streams, now and from now on, so that the server can stop: called from any thread."""
        loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ended = True
        for awake in self._open:
            awake.set()

    async def _messages(self) -> AsyncIterator[JSONServerSentEvent]:
        loop, awake = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            """Called in the engine's thread."""
            try:
                loop.call_soon_threadsafe(awake.set)
            except RuntimeError:  # the web server has stopped meanwhile
                _LOG.debug("a change came after the web server had stopped")

        self._open.add(awake)
        try:
            with self._state.subscribe(wake) as subscription:
                async for message in self._changes(subscription, awake):
                    yield message
        finally:
            self._open.discard(awake)

    async def _changes(self, subscription: Subscription, awake: asyncio.Event) -> AsyncIterator[JSONServerSentEvent]:
        last_sequence: int | None = None
        feeds_due_s = time.monotonic()
        while not self._ended:
            if time.monotonic() >= feeds_due_s:
                yield _message("feeds", self._feeds())
                feeds_due_s = time.monotonic() + FEEDS_EVERY_S
            for change in subscription.take():
                if last_sequence is not None and change.sequence != last_sequence + 1:
                    return  # it did not keep up: better to begin anew than to go on with a hole
                last_sequence = change.sequence
                yield _message(change.kind, {"feed": change.feed, **change.body})
            try:
                async with asyncio.timeout(max(0.0, feeds_due_s - time.monotonic())):
                    await awake.wait()
            except TimeoutError:
                continue
            awake.clear()

    def _feeds(self) -> dict[str, Any]:
        return {
            "service": self._service,
            "trouble": self._state.trouble(),
            "now": round(time.time(), 3),
            "classes": [{"name": entry.name, "title": entry.title} for entry in self._state.classes],
            "feeds": [feed.as_dict() for feed in self._state.feeds()],
        }


class _EventStream(EventSourceResponse):
    """A stream whose client is dropped when it takes nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            # The server closes a connection whose answer has no end.
            _LOG.info("dropped a web client that took nothing for %g s", SLOW_CLIENT_S)


def _message(kind: str, body: dict[str, Any]) -> JSONServerSentEvent:
    return JSONServerSentEvent(body, event=kind, sep="\n")
