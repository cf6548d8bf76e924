"""Clips and thumbnails of events, cut out of what a feed has lately received."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from av.packet import Packet
from av.video.stream import VideoStream

from avdetect.errors import AvdetectError, OutputError
from avdetect.files import replacing
from avdetect.media.live_buffer import MediaStream, PacketRing
from avdetect.media.packets import MediaInfo
from avdetect.media.planes import Orientation
from avdetect.media.thumbnail import thumbnail
from avdetect.redaction import redacted
from avdetect.serve.feeds.clip_requests import EARLY
from avdetect.serve.feeds.messages import ClipCut, CutClip
from avdetect.sinks.clips import write_clip
from avdetect.timebase import Span

__all__ = ["ClipCutter"]

_KEEP_ENDED_S = 30.0
"""For so long after the end of a stretch, clips of it may be asked for."""
_MAX_ENDED = 2
_END_WITHIN_S = 1.0
"""An event that is open when its stretch ends is closed then: so long a clip waits to be told its end."""
_RETRY_S = 5.0
"""How often a clip is tried again that could not be written."""
_GIVE_UP_S = 1800.0
"""For how long."""
_MAX_WAITING_BYTES = 64_000_000
"""Of all clips that could not be written; beyond it the oldest is lost."""
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM}
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


@dataclass(frozen=True, slots=True, eq=False)
class _Unwritten:
    """A clip that the disk did not take, with all that it needs."""

    request: CutClip
    recording: _Recording
    packets: list[Packet[MediaStream]]
    message: str
    failed_s: float
    """By the monotonic clock."""

    @property
    def num_bytes(self) -> int:
        return sum(packet.size for packet in self.packets)


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
        self._unwritten: dict[str, _Unwritten] = {}
        self._retry_s = 0.0
        self._finishing = False
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
            self._finishing = True
            self._changed.notify_all()
            while True:
                idle_s = time.monotonic() - self._last_request_s
                is_done = not (self._requests or self._unwritten or self._is_cutting)
                if is_done and idle_s >= linger_s:
                    return
                self._changed.wait(max(linger_s - idle_s, _MIN_WAIT_S))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_cutting = False
                self._forget()
                due = [request for request in self._requests.values() if self._wait_s(request) <= 0]
                late = list(self._unwritten.values()) if self._may_retry() else []
                if not due and not late:
                    waits_s = [self._wait_s(request) for request in self._requests.values()]
                    self._changed.notify_all()
                    is_idle = not self._recordings and not self._unwritten
                    self._changed.wait(None if is_idle else min([_MAX_WAIT_S, *waits_s]))
                    continue
                self._is_cutting = True
                if due:
                    request = due[0]
                    recording = self._recordings.get(request.stretch)
                    del self._requests[request.request]
            if due:
                self._answer_unless_late(self._cut(request, recording))
            for unwritten in late:
                self._write_late(unwritten)

    def _may_retry(self) -> bool:
        """Whether to try again to write what could not be written."""
        now_s = time.monotonic()
        if not self._unwritten or (now_s < self._retry_s and not self._finishing):
            return False
        self._retry_s = now_s + _RETRY_S
        return True

    def _write_late(self, unwritten: _Unwritten) -> None:
        """Try once more; what will not be tried again is lost, and that is said."""
        request = unwritten.request
        waited_s = time.monotonic() - unwritten.failed_s
        try:
            cut = self._written(request, unwritten.recording, unwritten.packets)
        except _DiskError as error:
            if waited_s < _GIVE_UP_S and not self._finishing:
                return
            cut = ClipCut(request.request, None, None, f"The clip is lost: {error}")
        with self._changed:
            self._unwritten.pop(request.request, None)
        self._answer(cut)

    def _answer_unless_late(self, cut: ClipCut | None) -> None:
        if cut is not None:
            self._answer(cut)

    def _keep_unwritten(self, unwritten: _Unwritten) -> None:
        """Keep a clip in memory until the disk takes it; the oldest are lost where that is too much."""
        with self._changed:
            self._unwritten.pop(unwritten.request.request, None)
            self._unwritten[unwritten.request.request] = unwritten
            lost = []
            while sum(kept.num_bytes for kept in self._unwritten.values()) > _MAX_WAITING_BYTES:
                lost.append(self._unwritten.pop(next(iter(self._unwritten))))
            self._retry_s = time.monotonic() + _RETRY_S
        for kept in lost:
            self._answer(ClipCut(kept.request.request, None, None, f"The clip is lost: {kept.message}"))

    def _wait_s(self, request: CutClip) -> float:
        """How long it takes until all of a clip has come in."""
        recording = self._recordings.get(request.stretch)
        if recording is None:
            return 0.0
        if recording.ended_s is not None:
            return 0.0 if isfinite(request.end_s) else recording.ended_s + _END_WITHIN_S - time.monotonic()
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

    def _cut(self, request: CutClip, recording: _Recording | None) -> ClipCut | None:
        """Cut a clip; ``None`` where the disk does not take it now."""
        if recording is None:
            return ClipCut(request.request, None, None, "What was received then is not kept any more.")
        start_s = recording.info.origin_s + self._span(request).start_s
        packets = recording.ring.since(min(start_s, recording.info.origin_s + request.thumbnail_s))
        try:
            return self._written(request, recording, packets)
        except _DiskError as error:
            message = redacted(str(error))
            if request.request.endswith(EARLY):  # the whole clip is still to come
                return ClipCut(request.request, None, None, message)
            _LOG.warning("a clip cannot be written now and is kept in memory: %s", message)
            self._keep_unwritten(_Unwritten(request, recording, packets, message, time.monotonic()))
            return None

    def _written(self, request: CutClip, recording: _Recording, packets: list[Packet[MediaStream]]) -> ClipCut:
        """Write a clip and its picture.

        Raises:
            _DiskError: the disk does not take the clip.
        """
        span, origin_s = self._span(request), recording.info.origin_s
        path = request.folder / request.request
        clip, picture, message = None, None, ""
        try:
            wanted = Span(origin_s + span.start_s, origin_s + span.end_s)
            clip = write_clip(_copies(packets), recording.ring.streams, wanted, path)
        except (AvdetectError, OSError) as error:
            message = str(error)
            if _is_of_the_disk(error):
                raise _DiskError(message) from error
        except Exception:  # the clips after this one still have to be cut
            _LOG.exception("A clip cannot be cut.")
            message = "The clip cannot be cut."
        try:
            time_s = origin_s + request.thumbnail_s
            picture = self._show(recording, packets, time_s, path.with_name(f"{path.name}.jpg"))
        except (AvdetectError, OSError) as error:
            message = message or str(error)
        except Exception:
            _LOG.exception("A thumbnail cannot be made.")
            message = message or "The thumbnail cannot be made."
        return ClipCut(request.request, clip, picture, message)

    def _show(
        self, recording: _Recording, packets: list[Packet[MediaStream]], time_s: float, path: Path
    ) -> Path | None:
        stream = recording.ring.streams[0]
        if not isinstance(stream, VideoStream):
            return None
        shown = [packet for packet in packets if packet.stream is stream]
        entries = [at for at, packet in enumerate(shown) if packet.is_keyframe and _time_s(packet) <= time_s]
        shown = _copies(shown[entries[-1] if entries else 0 :])
        orientation = Orientation(recording.info.rotation, recording.info.mirrored)
        picture = thumbnail(shown, stream, time_s, orientation=orientation)
        if picture is None:
            return None
        with replacing(path) as temporary:
            temporary.write_bytes(picture)
        return path


class _DiskError(Exception):
    """A clip cannot be written now; why, in a sentence."""


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether it is not the media that are to blame."""
    causes = (error, error.__cause__)
    return isinstance(error, OutputError) or any(getattr(cause, "errno", None) in _DISK_ERRORS for cause in causes)


def _copies(packets: Iterable[Packet[MediaStream]]) -> list[Packet[MediaStream]]:
    """Whose timestamps can be changed; the content is shared."""
    copies = []
    for packet in packets:
        copy: Packet[MediaStream] = Packet(packet)  # type: ignore[arg-type, assignment]  # any buffer will do
        copy.stream, copy.time_base = packet.stream, packet.time_base
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.is_keyframe = packet.is_keyframe
        copies.append(copy)
    return copies


def _time_s(packet: Packet[MediaStream]) -> float:
    stamp = packet.dts if packet.pts is None else packet.pts
    return float("-inf") if stamp is None else float(stamp * packet.time_base)
