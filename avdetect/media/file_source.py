"""A file, front to back, once: pictures and sound of the grid in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

from av.container.input import InputContainer
from av.error import FFmpegError
from av.format import Flags as FormatFlags

from avdetect.errors import MediaError, UsageError
from avdetect.media.audio import AudioTrack
from avdetect.media.clock import ClockRepair
from avdetect.media.container import (
    choose_audio,
    choose_video,
    describe,
    num_streams,
    open_container,
    samples_decide,
    with_late_streams,
)
from avdetect.media.demux import Demuxer
from avdetect.media.location import FILE_PROTOCOL, Location, locate
from avdetect.media.losses import Coverage, Damage, missing_segments_s, truncation_note
from avdetect.media.packets import AudioChunk, MediaInfo, MediaNote, StreamPlan, VideoFrame
from avdetect.media.planes import PictureMaker
from avdetect.media.source import Closing
from avdetect.media.video import VideoTrack
from avdetect.timebase import as_seconds

__all__ = ["FileSource", "probe_file"]

AUDIO_PREROLL_S = 1
"""Sound handed out before the start: an audio window reaches back this far."""
SEEK_MARGINS_S = (1, 15, 60)
"""How far before the wanted time to seek; further if the first key frame found there lies too late."""
PIPE_HINT = "; from a pipe, an MP4 can be read only if its index comes first (ffmpeg -movflags +faststart)"
MAX_JUMP_NOTES = 4
"""Further ones are only counted."""
MIN_SEEK_S = 3
"""Nearer to the origin, reading costs no more than seeking."""
TIME_BASE_HZ = 1_000_000
"""FFmpeg's own, of containers."""
# fmt: off
_DECLARES_DURATION = frozenset((
    "mov", "matroska", "avi", "asf", "flv", "flac", "aiff", "au", "tta", "wv", "ape", "tak", "mxf", "gxf", "hls", "mpc",
    "mpc8", "wtv",
))
# fmt: on
"""Formats that write down how long they are; for others FFmpeg estimates it, which proves no truncation."""
_MP3_MARKS = (b"Xing", b"Info", b"VBRI")
"""One of them is in the first frame of an MP3 that knows how many frames it has."""
_LATE_START_S = Fraction(1, 2)
"""Sound or pictures that begin so much later than their stream were lost at its beginning."""
PROBE_PLAN = StreamPlan(
    hop=Fraction(1),
    cells_per_snippet=1,
    luma_size=(1, 1),
    rgb_size=(1, 1),
    rgb_cells=frozenset(),
    rate_hz=16_000,
)


def probe_file(uri: str | Path) -> MediaInfo:
    """See :func:`avdetect.media.source.probe`."""
    with FileSource(uri, PROBE_PLAN) as source:
        return source.info


class FileSource(Closing):
    """A finite source that FFmpeg reads; see :func:`avdetect.media.source.open_source`."""

    def __init__(
        self,
        uri: str | Path,
        plan: StreamPlan,
        *,
        audio_track: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        decoder_threads: int = 2,
    ) -> None:
        if start_s < 0 or (duration_s is not None and duration_s <= 0):
            raise UsageError(
                f"the start must not be negative and the duration positive, got {start_s:g} s and {duration_s} s."
            )
        self.notes: list[MediaNote] = []
        self._num_jumps = 0
        self._plan = plan
        self._audio_track = audio_track
        self._decoder_threads = decoder_threads
        self._location = locate(uri)
        self._start = as_seconds(start_s)
        self._end = None if duration_s is None else self._start + as_seconds(duration_s)
        self._open()
        try:
            self._find_origin()
            self.info = self._describe()
            self._check_start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of files and decoders."""
        self._demuxer.close()

    def packets(self) -> Iterator[VideoFrame | AudioChunk]:
        """Pictures and sound in order of time; see :meth:`avdetect.media.source.MediaSource.packets`."""
        first_snippet = self._start // self._plan.hop * self._plan.hop
        video_begin = max(Fraction(0), first_snippet - self._plan.hop)
        audio_begin = max(Fraction(0), first_snippet - AUDIO_PREROLL_S)
        if audio_begin > 0:
            self._go_to(min(video_begin, audio_begin))
        pictures: Iterator[VideoFrame | None] = iter(())
        sound: Iterator[AudioChunk | None] = iter(())
        if self._video is not None:
            pictures = self._video.frames(video_begin, self._end)
        if self._audio is not None:
            sound = self._audio.chunks(self._origin, audio_begin, self._end)
        first = self._start
        seen, heard = Coverage("picture", first), Coverage("sound", first)
        for item in _in_order_of_time(pictures, sound):
            self._note_jumps()
            if isinstance(item, VideoFrame):
                seen.add(item.time, item.time + item.duration, item.time + item.hold)
            else:
                end = item.time + Fraction(item.samples.size, self._plan.rate_hz)
                heard.add(item.time, end, end)
            yield item
        self._note_losses(seen, heard)

    def _open(self) -> None:
        """Open the container and its decoders, at the beginning."""
        plan = self._plan
        container = open_container(self._location)
        if not self._location.probe_bytes:
            container, self._location = with_late_streams(container, self._location)
        try:
            video = choose_video(container)  # where it is not wanted, its start is
            audio = choose_audio(container, self._audio_track, self._location.name) if plan.want_audio else None
        except UsageError:
            container.close()
            raise
        decodable = [s for s in (video, audio) if s is not None and s.codec_context is not None]
        reopen = partial(open_container, self._location) if self._location.rereadable else None
        clock_may_jump = bool(container.format.flags & cast(int, FormatFlags.ts_discont.value))
        self._container = container
        self._damage = Damage()
        by_samples = self._samples_decide = samples_decide(container)
        self._clock = ClockRepair(
            () if by_samples and video is None else decodable,
            clock_may_jump=clock_may_jump,
            declared_end_s=_declared_end_s(container, self._location),
        )
        self._demuxer = Demuxer(container, decodable, self._clock, self._damage, reopen, self._location.name)
        self._video: VideoTrack | None = None
        self._audio: AudioTrack | None = None
        if video is not None and video in decodable:
            video.codec_context.thread_count = self._decoder_threads
            video.codec_context.thread_type = "AUTO"
            pictures = PictureMaker(plan.luma_size, plan.rgb_size, expected_pictures=self._expected_pictures(container))
            self._video = VideoTrack(video, self._demuxer, self._damage, plan, pictures)
        if audio is not None and audio in decodable:
            self._audio = AudioTrack(audio, self._demuxer, self._damage, plan.rate_hz, samples_decide=by_samples)

    def _expected_pictures(self, container: InputContainer) -> int | None:
        """How many cells there are to fill, as far as the container tells how long it is."""
        if container.duration is None or container.duration <= 0:
            return None
        end = Fraction(container.duration, TIME_BASE_HZ)
        return max(0, int((min(end, self._end or end) - self._start) / self._plan.cell))

    def _find_origin(self) -> None:
        """Read up to the first picture and the first sound; the earlier one is the grid's origin, wanted or not.

        Raises:
            MediaError: there is neither, of what is wanted.
        """
        starts = self._start_tracks()
        self._drop_unwanted()
        self._starts = [starts[track.stream.index] for track in self._tracks() if track.stream.index in starts]
        plan, streams = self._plan, self._container.streams
        if plan.want_video and self._video is None:
            self.notes.append(_absence("no-video", "video", "picture", num_tracks=len(streams.video)))
        if plan.want_audio and self._audio is None:
            self.notes.append(_absence("no-audio", "audio", "sound", num_tracks=len(streams.audio)))
        if not starts or not self._tracks():
            wanted = [kind for kind, is_wanted in (("video", plan.want_video), ("audio", plan.want_audio)) if is_wanted]
            hint = "" if self._location.rereadable else PIPE_HINT
            raise MediaError(f"{self._location.name}: holds no {' or '.join(wanted)} that can be decoded{hint}.")
        self._missing_s = self._missing_beginning_s()
        self._origin = min(self._begin(index, start) for index, start in starts.items()) - self._missing_s
        if self._video is not None:
            self._video.lay(self._origin)

    def _start_tracks(self) -> dict[int, Fraction]:
        """Decode up to the first picture and the first sound, drop a track without, and give times by stream index."""
        starts = {}
        if self._video is not None:
            start = self._video.start()
            if start is None and self._video.is_late:
                pass
            elif start is None:
                self._demuxer.drop(self._video.stream)
                self._video = None
            else:
                starts[self._video.stream.index] = start
        if self._audio is not None:
            start = self._audio.start()
            if start is None and self._audio.is_late:
                pass
            elif start is None:
                self._demuxer.drop(self._audio.stream)
                self._audio = None
            else:
                starts[self._audio.stream.index] = start
        return starts

    def _begin(self, index: int, start: Fraction) -> Fraction:
        """When a stream begins whose first picture or sound is at ``start``: what is damaged there moves no times."""
        stream = self._container.streams[index]
        if stream.start_time is None or stream.time_base is None or self._samples_decide:
            return start
        declared = stream.start_time * stream.time_base
        return declared if start - declared > _LATE_START_S else start

    def _missing_beginning_s(self) -> Fraction:
        """How much a playlist has before its first segment that is there."""
        if self.format_name != "hls" or not self._location.url.startswith(FILE_PROTOCOL):
            return Fraction(0)
        return missing_segments_s(Path(self._location.name))

    @property
    def format_name(self) -> str:
        """FFmpeg's name of the container."""
        return self._container.format.name

    def _drop_unwanted(self) -> None:
        """Read on without pictures, where the plan does not want them."""
        if self._video is not None and not self._plan.want_video:
            self._demuxer.drop(self._video.stream)
            self._video = None

    def _go_to(self, begin: Fraction) -> None:
        """Leave out most of what lies before ``begin`` (seconds from the origin), where the source allows it.

        Where it does not, or where it does not land before what was asked for, all of it is read.
        """
        tracks = self._tracks()
        needed = [max(begin + self._origin, start) for start in self._starts]
        if len(needed) < len(tracks):  # one of them begins late: nobody knows where
            return
        has_moved = False
        for margin_s in SEEK_MARGINS_S:
            target = begin + self._origin - margin_s
            if not self._location.rereadable or target < self._origin + MIN_SEEK_S:
                break
            has_moved = True
            try:
                self._demuxer.seek(tracks[0].stream, int(target / tracks[0].time_base))
            except FFmpegError:
                break
            landed = [track.start() for track in tracks]  # None: that stream has ended by then
            pairs = [(at, latest) for at, latest in zip(landed, needed, strict=True) if at is not None]
            if pairs and all(at <= latest for at, latest in pairs):
                return
        if has_moved:
            self.close()
            self._open()
            self._start_tracks()
            self._drop_unwanted()
            if self._video is not None:
                self._video.lay(self._origin)

    def _tracks(self) -> list[VideoTrack | AudioTrack]:
        return [track for track in (self._video, self._audio) if track is not None]

    def _describe(self) -> MediaInfo:
        container = self._container
        duration_s = None
        if container.duration is not None and container.duration > 0:
            container_start_s = Fraction(container.start_time or 0, TIME_BASE_HZ)
            end_s = container_start_s - self._missing_s + Fraction(container.duration, TIME_BASE_HZ)
            duration_s = float(end_s - self._origin)
        return describe(
            container,
            uri=self._location.name,
            origin=self._origin,
            duration_s=duration_s,
            video=self._video,
            audio=self._audio,
        )

    def _check_start(self) -> None:
        duration_s = self.info.duration_s
        if duration_s is not None and self._start > 0 and self._start >= duration_s:
            raise UsageError(
                f"{self._location.name}: lasts {duration_s:.2f} s, so it cannot be started at {float(self._start):g} s."
            )

    def _note_jumps(self) -> None:
        for jump in self._clock.jumps:
            self._num_jumps += 1
            if self._num_jumps > MAX_JUMP_NOTES:
                continue
            time_s = float(jump.time_s - self._origin)
            message = f"The timestamps jump by {float(jump.step_s):+.2f} s at {time_s:.2f} s; the clock was repaired."
            self.notes.append(MediaNote("timestamp-jump", message, time_s))
        self._clock.jumps.clear()

    def _note_losses(self, seen: Coverage, heard: Coverage) -> None:
        """Once all is read: what could not be decoded, and when there was no sound or no picture.

        Raises:
            MediaError: next to nothing could be decoded as it was meant.
        """
        if self._damage.is_hopeless:
            raise MediaError(f"{self._location.name}: is encrypted or damaged: next to nothing of it can be decoded.")
        notes = [self._damage.note()]
        if num_streams(self._container) > len(self._container.streams):
            message = (
                "The file has a stream that begins so late that it was not read: remux it (ffmpeg -i FILE -c copy)."
            )
            notes.append(MediaNote("late-stream", message))
        if self._num_jumps > MAX_JUMP_NOTES:
            message = f"The timestamps jump {self._num_jumps - MAX_JUMP_NOTES} times more; the clock was repaired."
            notes.append(MediaNote("timestamp-jump", message))
        reached = (
            max((track.end for track in self._tracks() if track.end is not None), default=self._origin) - self._origin
        )
        if self._end is None:
            is_file = self._location.rereadable and self._location.url.startswith(FILE_PROTOCOL)
            path = Path(self._location.name) if is_file else None
            notes.append(truncation_note(self._declared_s(), float(reached), path))
        end = reached if self._end is None else min(reached, self._end)
        for track, coverage in ((self._video, seen), (self._audio, heard)):
            if track is not None:
                notes.append(coverage.note(min(end, self._declared_end(track) or end)))
        self.notes += [note for note in notes if note is not None]

    def _declared_end(self, track: VideoTrack | AudioTrack) -> Fraction | None:
        """When a stream ends by its own account, from the origin."""
        if track.stream.duration is None or not _declares_duration(self._container, self._location):
            return None
        return ((track.stream.start_time or 0) + track.stream.duration) * track.time_base - self._origin

    def _declared_s(self) -> float | None:
        """Declared end, from the origin, of the longer of the streams read, or of the file where they say nothing."""
        if not _declares_duration(self._container, self._location):
            return None
        # The length of AVI's sound is told in blocks, of which nobody knows the length for certain.
        trusted = [track for track in self._tracks() if self.format_name != "avi" or track is self._video]
        ends = [end for track in trusted if (end := self._declared_end(track)) is not None]
        whole_s = self.info.duration_s if trusted else None
        if not ends:
            return whole_s
        # A stream's duration may count from the container's beginning, not from its own.
        return float(max(ends)) if whole_s is None else min(float(max(ends)), whole_s)


def _declares_duration(container: InputContainer, location: Location) -> bool:
    """Whether the container's duration is written down, and not FFmpeg's guess."""
    names = container.format.name.split(",")
    if names == ["mp3"] and location.rereadable and location.url.startswith(FILE_PROTOCOL):
        with Path(location.name).open("rb") as file:
            head = file.read(1 << 16)
        return any(mark in head for mark in _MP3_MARKS)
    return not _DECLARES_DURATION.isdisjoint(names)


def _declared_end_s(container: InputContainer, location: Location) -> Fraction | None:
    """Where the media end on the container's clock, where that is written down and not FFmpeg's guess."""
    if container.duration is None or container.duration <= 0:
        return None
    if not _declares_duration(container, location):
        return None
    return Fraction((container.start_time or 0) + container.duration, TIME_BASE_HZ)


def _absence(code: str, kind: str, what: str, *, num_tracks: int) -> MediaNote:
    reason = f"has no {kind} track" if num_tracks == 0 else f"has {kind} that cannot be decoded"
    return MediaNote(code, f"The file {reason}: it is scored without {what}.")


def _in_order_of_time(
    pictures: Iterator[VideoFrame | None], sound: Iterator[AudioChunk | None]
) -> Iterator[VideoFrame | AudioChunk]:
    """Merge two streams, each in order of time; one that gives ``None`` is starved until the other has gone on."""
    streams: list[Iterator[VideoFrame | AudioChunk | None]] = [pictures, sound]
    heads: list[VideoFrame | AudioChunk | None] = [None, None]
    live = [0, 1]
    while live:
        for i in list(live):
            if heads[i] is None:
                try:
                    heads[i] = next(streams[i])
                except StopIteration:
                    live.remove(i)
        ready = [(head.time, i) for i in live if (head := heads[i]) is not None]
        if ready:
            _, earliest = min(ready)
            head, heads[earliest] = heads[earliest], None
            assert head is not None
            yield head
