"""The web server in a thread of its own, from the first accepted connection to the last answered request."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from avdetect.errors import UsageError
from avdetect.serve.web.events_stream import EventStreams

__all__ = ["WebServer"]

MAX_CONNECTIONS = 512
"""A new one takes the place of the one that has been idle for the longest time; see ``_Connection``."""
REQUEST_WITHIN_S = 10.0
"""How long a client may take from connecting, or from its first byte, to the end of a request."""
ACCEPT_WITHIN_S = 30.0
"""How long a client may leave what it asked for unread."""
_STOP_WITHIN_S = 5
"""What is still being sent then, a clip to a slow phone for instance, is broken off."""


class WebServer:
    """Serves an application of ``create_app`` as long as it is entered."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        """Take the port, so that nothing else is begun in vain where it is taken.

        Args:
            app: what to serve.
            host: a name or an address; ``check_exposure`` says which ones are allowed.
            port: 0 for any that is free.

        Raises:
            UsageError: nothing can be listened on there.
        """
        logging.getLogger("uvicorn.error").addFilter(_is_unexpected)
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._streams: EventStreams = app.state.streams
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,  # the service's own
                access_log=False,
                server_header=False,
                http=_Connection,
                ws="none",
                timeout_graceful_shutdown=_STOP_WITHIN_S,
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._streams.end(self._loop)
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening.set()  # the socket listens already: who connects now is answered in a moment
        try:
            await self._server.serve([self._socket])
        finally:
            self._socket.close()


class _Connection(H11Protocol):
    """One connection of a client that is not waited for without end.

    By hand, because uvicorn closes a silent connection only after its first request, and its own ``limit_concurrency``
    counts silent ones: 520 of them made every answer a 503, that of ``/healthz`` included.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since_s = time.monotonic()
        self._request_deadline: asyncio.TimerHandle | None = None
        self._reading_deadline: asyncio.TimerHandle | None = None

    @property
    def _is_idle(self) -> bool:
        """Whether it is the client's turn to say something."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return not is_answering or self._awaits_request

    @property
    def _awaits_request(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room, and give the client some time for its first request."""
        others = [other for other in self.connections if isinstance(other, _Connection)]
        super().connection_made(transport)
        if len(others) >= MAX_CONNECTIONS:
            idle = [other for other in others if other._is_idle]
            (min(idle, key=lambda other: other._since_s) if idle else self).transport.abort()
        self._request_deadline = self.loop.call_later(REQUEST_WITHIN_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, and see to it that the rest follows."""
        super().data_received(data)
        self._since_s = time.monotonic()
        if not self._awaits_request:
            self._request_deadline = _cancelled(self._request_deadline)
        elif self._request_deadline is None:
            self._request_deadline = self.loop.call_later(REQUEST_WITHIN_S, self._give_up)

    def pause_writing(self) -> None:
        """The client does not read what it has asked for."""
        super().pause_writing()
        self._reading_deadline = self.loop.call_later(ACCEPT_WITHIN_S, self._give_up)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._reading_deadline = _cancelled(self._reading_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._request_deadline = _cancelled(self._request_deadline)
        self._reading_deadline = _cancelled(self._reading_deadline)

    def on_response_complete(self) -> None:
        """From here on uvicorn's own limit for idle connections holds."""
        super().on_response_complete()
        self._since_s = time.monotonic()

    def _give_up(self) -> None:
        self.transport.abort()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Nothing, once ``timer`` has been stopped."""
    if timer is not None:
        timer.cancel()
    return None


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Not so: what uvicorn says when a stream drops its client. An answer without an end is ASGI's only way to."""
    return record.getMessage() != "ASGI callable returned without completing response."


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error}.") from error
    listening.setblocking(False)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # inherited: who vanished is noticed some day
    return listening
