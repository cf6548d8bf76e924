"""A feed's child process: started, listened to, and started again when it crashes or hangs."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any, Protocol

from avdetect.manifest import Manifest
from avdetect.media.location import ends_by_itself
from avdetect.redaction import keep_secret, kept_secrets, redacted
from avdetect.serve.feeds.messages import FromFeed, Logged, ToFeed
from avdetect.serve.logs import write_relayed

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

    from avdetect.media.live_options import LiveOptions

__all__ = ["Exited", "FeedAddress", "FeedProcess", "FeedTarget", "run_feed"]

_PRELOADED = ("avdetect.serve.feeds.process", "avdetect.media.kernels")
"""By the server that feeds are forked from: the compiled kernel is in memory once, however many feeds there are."""
_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_STANDARD_INPUT = "-"
_STDIN = 0
_FAILED = 1
_NICENESS = 5
"""Of the decoders: where there are more of them than processors, the engine, which they all wait for, goes first."""
_EXIT_WITHIN_S = 5.0
"""After a process has hung up."""

_LOG = logging.getLogger(__name__)


def _context() -> ForkServerContext | SpawnContext:
    """How processes are begun. A plain fork would copy onnxruntime's threads and locks in whatever state."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


class FeedTarget(Protocol):
    """What runs in the child, until the source ends for good or ``Stop`` comes."""

    def __call__(
        self, connection: Connection[FromFeed, ToFeed], url: str, options: LiveOptions, manifest: Manifest
    ) -> None:
        """Run."""
        ...


def run_feed(connection: Connection[FromFeed, ToFeed], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """The product's own target; the parent never loads FFmpeg."""
    from avdetect.serve.feeds.process import run_feed as run

    run(connection, url, options, manifest)


@dataclass(frozen=True, slots=True)
class FeedAddress:
    """What a feed's process is to watch."""

    url: str = field(repr=False)
    """With its credentials, so it is never shown; ``-`` for standard input."""
    options: LiveOptions

    @property
    def ends(self) -> bool:
        """Whether the source has an end of its own, as a file has: it is not lost then, and not connected to again."""
        return ends_by_itself(self.url, self.options)


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone."""

    exit_code: int
    """0 where the source came to its own end or ``Stop`` was obeyed; below 0 the number of a signal."""


class FeedProcess:
    """One run of a feed's process, and the thread that listens to it.

    A thread, not the engine's loop: a process that stops in the middle of a message holds up nobody else.

    Args:
        name: of the feed.
        address: what to watch.
        manifest: what a snippet is.
        target: what runs in the process.
        deliver: called from the thread with each message, and with ``Exited`` last.
    """

    def __init__(
        self,
        name: str,
        address: FeedAddress,
        manifest: Manifest,
        target: FeedTarget,
        deliver: Callable[[FromFeed | Exited], None],
    ) -> None:
        self._name = name
        self._deliver = deliver
        stdin = _StandardInput(address.url == _STANDARD_INPUT)
        context = _context()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_run,
            args=(theirs, target, address.url, address.options, manifest, stdin, kept_secrets()),
            name=f"avdetect-{name}",
            daemon=True,
        )
        try:
            with _signals_held():
                self._process.start()
        except BaseException:
            self._connection.close()
            raise
        finally:
            theirs.close()
            stdin.close()
        self._listener = threading.Thread(target=self._listen, name=f"listen-{name}", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def send(self, message: ToFeed) -> None:
        """Tell the process something; nothing happens where it is gone already."""
        with suppress(OSError):
            self._connection.send(message)

    def kill(self) -> None:
        """End it at once; ``Exited`` follows."""
        self._process.kill()

    def close(self) -> None:
        """Let go of everything, after ``Exited`` was delivered or ``kill`` was called."""
        self._listener.join()
        self._connection.close()
        self._process.close()

    def _listen(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, _Raised):
                    _LOG.error("%s: the feed's process failed:\n%s", self._name, message.traceback)
                elif isinstance(message, Logged):
                    write_relayed(self._name, message)
                else:
                    self._deliver(message)
        except (EOFError, OSError):  # it has hung up
            self._process.join(_EXIT_WITHIN_S)
        except Exception:  # a damaged message can raise anything
            _LOG.exception("%s: the feed's process sent something that cannot be understood", self._name)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        exit_code = self._process.exitcode
        self._deliver(Exited(_FAILED if exit_code is None else exit_code))


@dataclass(frozen=True, slots=True)
class _Raised:
    """What the process could not handle."""

    traceback: str
    """Without credentials."""


def _run(
    connection: Connection[FromFeed | _Raised, ToFeed],
    target: FeedTarget,
    url: str,
    options: LiveOptions,
    manifest: Manifest,
    stdin: _StandardInput,
    secrets: frozenset[str],
) -> None:
    """The process."""
    keep_secret(secrets)
    _hold_signals()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    threading.Thread(target=_exit_with_parent, name="parent", daemon=True).start()
    stdin.take()
    try:
        target(connection, url, options, manifest)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody listens any more
        sys.exit(_FAILED)
    except BaseException as error:
        with suppress(OSError):
            connection.send(_Raised(redacted("".join(traceback.format_exception(error)))))
        sys.exit(_FAILED)


def _exit_with_parent() -> None:
    """A process whose parent was killed has nobody to stop it, whatever it hangs in."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(_FAILED)


class _StandardInput:
    """Hands this process's standard input to the child, which multiprocessing gives an empty one."""

    def __init__(self, wanted: bool) -> None:
        self._copy: Any = os.dup(_STDIN) if wanted else None

    def close(self) -> None:
        """In the parent, once the child has been started."""
        if self._copy is not None:
            os.close(self._copy)

    def take(self) -> None:
        """In the child: put it in its place."""
        if self._copy is not None:
            descriptor = self._copy.detach()
            os.dup2(descriptor, _STDIN)
            os.close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {"_copy": None if self._copy is None else DupFd(self._copy)}


@contextmanager
def _signals_held() -> Iterator[None]:
    """A process begun inside never sees the signals by which a terminal or systemd ends the whole group.

    It is told to stop by its parent, which first wants to hear what is left.
    """
    resource_tracker.ensure_running()  # unblocks these signals when it is started on the way
    before = _hold_signals()
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hold_signals() -> set[int]:
    """Block them in this thread, and in what it starts; gives back what was blocked before."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)) if hasattr(signal, "pthread_sigmask") else set()
