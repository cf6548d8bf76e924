"""Clips and thumbnails of events, cut out of what a feed has lately received."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from av.video.stream import VideoStream

from avdetect.errors import AvdetectError
from avdetect.files import replacing
from avdetect.media.live_buffer import PacketRing
from avdetect.media.packets import MediaInfo
from avdetect.media.thumbnail import thumbnail
from avdetect.serve.feeds.messages import ClipCut, CutClip
from avdetect.sinks.clips import write_clip
from avdetect.timebase import Span

__all__ = ["ClipCutter"]

_KEEP_ENDED_S = 30.0
"""For so long after the end of a stretch, clips of it may be asked for."""
_MAX_ENDED = 2
_MAX_WAIT_S = 1.0
_MIN_WAIT_S = 0.05

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Recording:
    """What is kept of a stretch."""

    ring: PacketRing
    info: MediaInfo
    ended_s: float | None = None
    """When the stretch ended, by the monotonic clock."""


class ClipCutter:
    """A thread that cuts each clip once all of it has come in.

    A clip may be asked for while its event lasts, and again, under the same name, when its end is known: what came
    since its start is kept from the first request on.
    """

    def __init__(self, answer: Callable[[ClipCut], None], *, max_clip_s: float) -> None:
        """Wait for requests.

        Args:
            answer: called from the thread, once for each request.
            max_clip_s: longer clips end early.
        """
        self._answer = answer
        self._max_clip_s = max_clip_s
        self._recordings: dict[int, _Recording] = {}
        self._requests: dict[str, CutClip] = {}
        self._is_cutting = False
        self._last_request_s = 0.0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="avdetect-clips", daemon=True).start()

    def begin(self, stretch: int, ring: PacketRing, info: MediaInfo) -> None:
        """A stretch begins; its times count from ``info.origin_s`` on the clock of ``ring``."""
        with self._changed:
            self._recordings[stretch] = _Recording(ring, info)
            self._changed.notify_all()

    def end(self, stretch: int) -> None:
        """Nothing more comes of a stretch."""
        with self._changed:
            self._recordings[stretch].ended_s = time.monotonic()
            self._changed.notify_all()

    def request(self, request: CutClip) -> None:
        """Cut a clip, or change when it is to end."""
        with self._changed:
            self._requests[request.request] = request
            self._last_request_s = time.monotonic()
            self._changed.notify_all()

    def finish(self, linger_s: float) -> None:
        """Wait until no clip is left to cut and none was asked for during ``linger_s``."""
        self._last_request_s = time.monotonic()
        with self._changed:
            while True:
                idle_s = time.monotonic() - self._last_request_s
                if not self._requests and not self._is_cutting and idle_s >= linger_s:
                    return
                self._changed.wait(max(linger_s - idle_s, _MIN_WAIT_S))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_cutting = False
                self._forget()
                due = [request for request in self._requests.values() if self._wait_s(request) <= 0]
                if not due:
                    waits_s = [self._wait_s(request) for request in self._requests.values()]
                    self._changed.notify_all()
                    self._changed.wait(min([_MAX_WAIT_S, *waits_s]) if self._recordings else None)
                    continue
                request = due[0]
                recording = self._recordings.get(request.stretch)
                del self._requests[request.request]
                self._is_cutting = True
            self._answer(self._cut(request, recording))

    def _wait_s(self, request: CutClip) -> float:
        """How long it takes until all of a clip has come in."""
        recording = self._recordings.get(request.stretch)
        if recording is None or recording.ended_s is not None:
            return 0.0
        end_s = recording.info.origin_s + self._span(request).end_s
        rest_s = end_s - (recording.ring.end_s or 0.0)
        return max(rest_s, _MIN_WAIT_S) if rest_s > 0 else 0.0

    def _span(self, request: CutClip) -> Span:
        """What the clip shows, seconds from the stretch's origin."""
        start_s = max(request.start_s, 0.0)
        return Span(start_s, max(start_s, min(request.end_s, start_s + self._max_clip_s)))

    def _forget(self) -> None:
        """Let go of ended stretches, and have rings keep what clips wait for."""
        now_s = time.monotonic()
        wanted = {request.stretch for request in self._requests.values()}
        ended = [number for number, recording in self._recordings.items() if recording.ended_s is not None]
        for number in ended:
            is_old = now_s - (self._recordings[number].ended_s or now_s) > _KEEP_ENDED_S
            if number not in wanted and (is_old or number not in ended[-_MAX_ENDED:]):
                del self._recordings[number]
        for number, recording in self._recordings.items():
            starts_s = [request.start_s for request in self._requests.values() if request.stretch == number]
            recording.ring.keep_from(recording.info.origin_s + min(starts_s) if starts_s else None)

    def _cut(self, request: CutClip, recording: _Recording | None) -> ClipCut:
        if recording is None:
            return ClipCut(request.request, None, None, "What was received then is not kept any more.")
        span = self._span(request)
        start_s, end_s = recording.info.origin_s + span.start_s, recording.info.origin_s + span.end_s
        path = request.folder / request.request
        clip, picture, message = None, None, ""
        try:
            packets = recording.ring.since(start_s)
            clip = write_clip(packets, recording.ring.streams, Span(start_s, end_s), path)
        except AvdetectError as error:
            message = str(error)
        except Exception:  # the clips after this one still have to be cut
            _LOG.exception("A clip cannot be cut.")
            message = "The clip cannot be cut."
        try:
            time_s = recording.info.origin_s + request.thumbnail_s
            picture = self._show(recording, time_s, path.with_name(f"{path.name}.jpg"))
        except Exception:
            _LOG.exception("A thumbnail cannot be made.")
            message = message or "The thumbnail cannot be made."
        return ClipCut(request.request, clip, picture, message)

    def _show(self, recording: _Recording, time_s: float, path: Path) -> Path | None:
        stream = recording.ring.streams[0]
        if not isinstance(stream, VideoStream):
            return None
        packets = (packet for packet in recording.ring.since(time_s) if packet.stream is stream)
        picture = thumbnail(packets, stream, time_s, rotation=recording.info.rotation)
        if picture is None:
            return None
        with replacing(path) as temporary:
            temporary.write_bytes(picture)
        return path
