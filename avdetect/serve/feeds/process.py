"""What runs in a feed's own process: connect, decode, make snippets, cut clips, and start again, until told to stop.

reader thread     LiveReader: packets to a queue and to the ring
this thread       decodes and assembles
"send" thread     hands messages to the engine, snippets only as fast as it takes them
"listen" thread   takes the engine's orders; when the engine is gone, so is the process
"clips" thread    cuts clips out of the ring
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import threading
import time
from multiprocessing.connection import Connection

from avdetect.backoff import Backoff
from avdetect.errors import AvdetectError
from avdetect.manifest import Manifest
from avdetect.media.live_input import ConnectError
from avdetect.media.live_options import LiveOptions
from avdetect.media.live_source import LiveSource, StreamEnd
from avdetect.media.location import ends_by_itself
from avdetect.redaction import redacted
from avdetect.serve.feeds.clip_cutter import ClipCutter
from avdetect.serve.feeds.messages import (
    CutClip,
    FromFeed,
    Outbound,
    SnippetReady,
    SnippetsTaken,
    Stop,
    StretchBegan,
    StretchEnded,
    ToFeed,
    Waiting,
)
from avdetect.serve.logs import relay_logs
from avdetect.snippets.assembler import SnippetAssembler
from avdetect.snippets.snippet import Snippet, stream_plan
from avdetect.stage import through

__all__ = ["run_feed"]

_FIRST_BACKOFF_S = 0.5
_NOTE_INTERVAL_S = 60.0
"""Damage is logged no more often."""
_GOOD_AFTER_S = 10.0
"""A stretch of this length shows that all is well again."""
_FLUSH_WITHIN_S = 0.4
"""How long the engine is given, at the end, to take what is left."""
_LINGER_S = 1.0
"""The engine closes its open events only after the last snippet; for so long their clips may still be asked for."""
_POLL_S = 0.1
_FAILED = 1

_LOG = logging.getLogger(__name__)


def run_feed(connection: Connection[FromFeed, ToFeed], url: str, options: LiveOptions, manifest: Manifest) -> None:
    """Watch a source until it ends for good (a file, standard input) or ``Stop`` comes.

    To be the target of a process: it exits at once when ``connection`` breaks, and when FFmpeg hangs.

    Args:
        connection: to the engine.
        url: of the source, with its credentials.
        options: how to reach it.
        manifest: what a snippet is.
    """
    _Feed(connection, url, options, manifest).run()


class _Feed:
    """The state of a feed that outlives its stretches."""

    def __init__(
        self, connection: Connection[FromFeed, ToFeed], url: str, options: LiveOptions, manifest: Manifest
    ) -> None:
        self._connection = connection
        self._url = url
        self._name = redacted(url)
        self._options = options
        self._manifest = manifest
        self._plan = stream_plan(manifest)
        is_patient = ends_by_itself(url, options) and not options.realtime
        self._outbound = Outbound(connection, drops=not options.waits(is_patient=is_patient))
        relay_logs(self._outbound.send)
        self._clips = ClipCutter(self._outbound.send, max_clip_s=options.max_clip_s)
        self._backoff = Backoff(first_s=_FIRST_BACKOFF_S, max_s=options.max_backoff_s)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._source: LiveSource | None = None
        self._stretch = 0
        self._first_origin_unix_s: float | None = None
        self._reached_s = 0.0
        self._noted_s = -_NOTE_INTERVAL_S
        self._num_noted = 0

    def run(self) -> None:
        """Stretch after stretch."""
        threading.Thread(target=self._listen, name="avdetect-listen", daemon=True).start()
        while not self._stopping.is_set():
            began_s = time.monotonic()
            try:
                source = self._connect()
            except AvdetectError as error:
                reason = error.reason if isinstance(error, ConnectError) else "unusable"
                if ends_by_itself(self._url, self._options) and reason == "ended":
                    break
                self._wait(reason, redacted(str(error)))
                continue
            if source is None:
                break
            with source:
                end, is_final = self._watch(source)
            if source.hangs:  # a thread is stuck in FFmpeg, with the connection
                self._outbound.flush(_FLUSH_WITHIN_S)
                os._exit(_FAILED)
            with self._lock:
                self._source = source = None
            gc.collect()  # PyAV's containers and streams refer to each other, and decoders hold many pictures
            if is_final:
                break
            if time.monotonic() - began_s >= _GOOD_AFTER_S:
                self._backoff.reset()
            elif not self._stopping.is_set():
                self._wait(end.reason, end.message)
        self._finish()

    def _connect(self) -> LiveSource | None:
        """Connect; ``None`` where ``Stop`` came first: FFmpeg cannot be called back, so it is left behind in a thread.

        Raises:
            AvdetectError: it did not work.
        """
        outcome: queue.SimpleQueue[LiveSource | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._open, args=(outcome,), name="avdetect-connect", daemon=True).start()
        while not self._stopping.is_set():
            try:
                result = outcome.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            with self._lock:
                self._source = result
            return result
        return None

    def _open(self, outcome: queue.SimpleQueue[LiveSource | BaseException]) -> None:
        try:
            outcome.put(LiveSource(self._url, self._plan, self._options))
        except BaseException as error:  # whatever it is, it is the other thread's to handle
            outcome.put(error)

    def _watch(self, source: LiveSource) -> tuple[StreamEnd, bool]:
        """Send the snippets of one stretch; why it ended, and whether the source is over with that."""
        stretch, info = self._stretch, source.info
        self._stretch += 1
        if self._first_origin_unix_s is None:
            self._first_origin_unix_s = source.origin_unix_s
        start_s = max(source.origin_unix_s - self._first_origin_unix_s, self._reached_s)
        self._clips.begin(stretch, source.ring, info)
        self._outbound.send(StretchBegan(stretch, source.origin_unix_s, start_s, info))
        assembler = SnippetAssembler(
            self._manifest,
            has_video=info.video_codec is not None,
            has_audio=info.audio_codec is not None,
            max_lag_s=self._options.max_skew_s,
        )
        end = None
        try:
            if self._stopping.is_set():
                source.stop()
            for snippet in through(source.packets(), assembler):
                self._send(stretch, snippet, source)
                self._reached_s = start_s + snippet.span.end_s
            end = source.end
        except AvdetectError as error:
            end = StreamEnd("undecodable", redacted(str(error)))
        end = end or StreamEnd("stopped", f"{self._name}: was stopped.")
        # A file would begin at its beginning again, and report the same events.
        is_final = source.ends and (end.reason == "ended" or source.is_file)
        self._outbound.send(StretchEnded(stretch, end.reason, end.message, is_final))
        self._clips.end(stretch)
        return end, is_final

    def _send(self, stretch: int, snippet: Snippet, source: LiveSource) -> None:
        """Send a snippet, unless it is empty because its packets were dropped."""
        is_empty = not (snippet.audio_present or snippet.visual_present)
        if is_empty and source.dropped_s(snippet.span) > snippet.span.duration_s / 2:
            self._outbound.drop(1)
        else:
            self._outbound.send(SnippetReady(stretch, snippet, source.received_unix_s))
        self._note_damage(source)

    def _note_damage(self, source: LiveSource) -> None:
        """Log what cannot be decoded, now and then."""
        num_damaged = source.damage.total
        if num_damaged != self._num_noted and time.monotonic() - self._noted_s >= _NOTE_INTERVAL_S:
            if num_damaged > self._num_noted:
                _LOG.warning("%s: damaged in %d places since it was connected to.", self._name, num_damaged)
            self._noted_s = time.monotonic()
            self._num_noted = num_damaged

    def _wait(self, reason: str, message: str) -> None:
        """Say that the source is not there, and let some time pass."""
        retry_in_s = self._backoff.next_s()
        self._outbound.send(Waiting(reason, message, retry_in_s, self._backoff.num_failures))
        self._stopping.wait(retry_in_s)

    def _finish(self) -> None:
        """Send what is left, and cut the clips that are asked for on account of it."""
        self._outbound.flush(_FLUSH_WITHIN_S if self._stopping.is_set() else None)
        if self._stretch > 0:
            self._clips.finish(_LINGER_S)
        self._outbound.flush(_FLUSH_WITHIN_S)

    def _listen(self) -> None:
        """Take the engine's orders until it is gone."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(_FAILED)  # there is nobody left to work for
            match message:
                case SnippetsTaken():
                    self._outbound.taken(message.count)
                case CutClip():
                    self._clips.request(message)
                case Stop():
                    self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._outbound.release()
        with self._lock:
            if self._source is not None:
                self._source.stop()
