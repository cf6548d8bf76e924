"""The web server in a thread of its own, from the first accepted connection to the last answered request."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI

from avdetect.errors import UsageError
from avdetect.serve.web.events_stream import EventStreams

__all__ = ["WebServer"]

_MAX_CONNECTIONS = 512
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
                limit_concurrency=_MAX_CONNECTIONS,
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
    return listening
