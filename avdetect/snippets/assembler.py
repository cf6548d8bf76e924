"""Pictures and sound -> snippets, in order, as soon as both streams have gone past a snippet's end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avdetect.manifest import Manifest
from avdetect.media.packets import AudioChunk, MediaNote, VideoFrame
from avdetect.snippets.snippet import Snippet, rgb_cells, stream_plan
from avdetect.snippets.tracks import Pictures, PictureTrack, SoundTrack
from avdetect.timebase import Span, as_seconds


class SnippetAssembler:
    """Stage from :class:`VideoFrame` and :class:`AudioChunk`, each in order of time, to :class:`Snippet`.

    Memory is bounded whatever comes: when one stream is ``max_skew_s`` of content ahead of the other, snippets are
    released without waiting any longer. Had the other stream ended, nothing is lost; had it not, ``notes`` says so.

    A snippet owns its arrays.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        first_index: int = 0,
        num_snippets: int | None = None,
        has_video: bool = True,
        has_audio: bool = True,
        max_skew_s: float = 30.0,
        max_lag_s: float | None = None,
    ) -> None:
        """Lay snippets on the grid from ``first_index`` on.

        Args:
            manifest: says what a snippet is.
            first_index: the first snippet to release; what comes before it is only heard in its window and seen as the
                picture before its first.
            num_snippets: release no more than this many; ``None`` for all.
            has_video: the source has pictures; ``False``: do not wait for them.
            has_audio: the source has sound; ``False``: do not wait for it.
            max_skew_s: how far one stream may run ahead of the other, in seconds of pictures or sound.
            max_lag_s: for live sources, where one stream may stop and come back: for how many seconds of the other it
                is waited for. Then it is not waited for until it is that near again.
        """
        self._plan = plan = stream_plan(manifest)
        frames_per_snippet = manifest.appearance.frames_per_snippet if manifest.appearance else 0
        self._rgb_cells = rgb_cells(frames_per_snippet, plan.cells_per_snippet)
        window_samples = manifest.audio.window_samples if manifest.audio else 0
        self._first_index = first_index
        self._stop_index = math.inf if num_snippets is None else first_index + num_snippets
        self._waits_for_video = plan.want_video and has_video
        self._waits_for_audio = plan.want_audio and has_audio
        self._max_pictures = int(as_seconds(max_skew_s) / plan.cell)
        self._max_samples = int(as_seconds(max_skew_s) * plan.rate_hz) + window_samples
        self._max_lag = None if max_lag_s is None else as_seconds(max_lag_s)
        self._audio_lags = self._video_lags = False
        self._pictures = PictureTrack(first_index * plan.hop)
        self._sound = SoundTrack(plan.rate_hz, window_samples, first_index * plan.hop)
        self._aim(first_index)

    @property
    def notes(self) -> tuple[MediaNote, ...]:
        """Notes for the user about the streams so far."""
        pictures, samples = self._pictures.late, self._sound.late
        if not pictures and not samples:
            return ()
        late_s = samples / self._plan.rate_hz if samples else 0.0
        message = (
            f"Sound and pictures are too far apart in the source: {pictures} pictures and {late_s:.1f} s of sound came "
            "too late to be used; remux it so that they are interleaved."
        )
        return (MediaNote("skewed-streams", message),)

    def push(self, item: VideoFrame | AudioChunk) -> Iterator[Snippet]:
        """Take one picture or chunk of sound; give back the snippets that it completes."""
        if self._next_index < self._stop_index:
            if isinstance(item, VideoFrame):
                if self._plan.want_video:
                    self._pictures.add(item)
                    self._video_lags = self._video_lags and not self._is_near(self._video_end())
            elif self._plan.want_audio:
                self._sound.add(item)
                self._audio_lags = self._audio_lags and not self._is_near(self._audio_end())
        return self._complete()

    def flush(self) -> Iterator[Snippet]:
        """Both streams have ended: give back the snippets up to the end of the longer one.

        The last one's span ends where the media end. A rest shorter than a cell is no snippet, unless it is alone.
        """
        media_end = self._media_end()
        while self._next_index < self._stop_index:
            rest = media_end - self._next_index * self._plan.hop
            if rest <= 0 or (rest < self._plan.cell and self._next_index > self._first_index):
                return
            yield self._release(min(rest, self._plan.hop))

    def _complete(self) -> Iterator[Snippet]:
        """Release what both streams have passed, and what can be waited for no longer."""
        while self._next_index < self._stop_index:
            if not self._has_passed_next():
                if not (self._is_full() or self._is_left_behind()):
                    return
                if self._max_lag is not None:
                    self._audio_lags = not self._sound.has_passed(self._next_end_sample)
                    self._video_lags = not self._pictures.has_passed(self._next_last_cell)
            yield self._release(self._plan.hop)

    def _has_passed_next(self) -> bool:
        """Tell whether nothing more can come for the next snippet."""
        waits_for_audio = self._waits_for_audio and not self._audio_lags
        waits_for_video = self._waits_for_video and not self._video_lags
        if waits_for_audio and not self._sound.has_passed(self._next_end_sample):
            return False
        if waits_for_video and not self._pictures.has_passed(self._next_last_cell):
            return False
        return waits_for_audio or waits_for_video

    def _aim(self, index: int) -> None:
        """Make ``index`` the next snippet. It is asked for with every item, so what it waits for is worked out here."""
        end = (index + 1) * self._plan.hop
        self._next_index = index
        self._next_end_sample = self._sound.sample_at(end)
        # No picture comes after the one of the last cell, which need not wait for the next.
        self._next_last_cell = end - self._plan.cell

    def _is_full(self) -> bool:
        """One stream has run too far ahead."""
        return self._pictures.buffered > self._max_pictures or self._sound.buffered > self._max_samples

    def _is_left_behind(self) -> bool:
        """One stream has gone so far past the next snippet that the other is waited for no longer."""
        if self._max_lag is None:
            return False
        return self._media_end() >= (self._next_index + 1) * self._plan.hop + self._max_lag

    def _is_near(self, end: Fraction) -> bool:
        """A stream that has come to ``end`` is worth waiting for."""
        return self._max_lag is None or end >= self._next_index * self._plan.hop - self._max_lag

    def _audio_end(self) -> Fraction:
        return Fraction(0) if self._sound.end is None else Fraction(self._sound.end, self._plan.rate_hz)

    def _video_end(self) -> Fraction:
        last = self._pictures.last
        return Fraction(0) if last is None else last.time + last.duration

    def _media_end(self) -> Fraction:
        """End of the longer stream."""
        return max(self._audio_end(), self._video_end(), Fraction(0))

    def _release(self, length: Fraction) -> Snippet:
        """The next snippet, of which the media fill ``length`` seconds."""
        index, hop = self._next_index, self._plan.hop
        start, end = index * hop, (index + 1) * hop
        sound = self._sound.release(start, end)
        pictures = self._pictures.release(start, end)
        luma, luma_time_s = self._luma(pictures, start)
        self._aim(index + 1)
        return Snippet(
            index=index,
            span=Span(float(start), float(start + length)),
            frames=self._frames(pictures, start),
            luma=luma,
            luma_time_s=luma_time_s,
            waveform=sound.samples,
            audio_present=sound.covered_samples > 0 and 2 * sound.covered_samples >= length * self._plan.rate_hz,
            visual_present=pictures.before is not None or len(pictures.inside) > 0,
        )

    def _luma(self, pictures: Pictures, start: Fraction) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The luma of every cell after that of the last picture before; a missing picture repeats the one before it."""
        luma = np.zeros((self._plan.cells_per_snippet + 1, *self._plan.luma_size), np.uint8)
        time_s = np.zeros(self._plan.cells_per_snippet + 1, np.float32)
        shown = [frame for frame in (pictures.before, *pictures.inside) if frame is not None]
        begins = [0, *(1 + int((frame.time - start) / self._plan.cell) for frame in shown[1:])]
        for frame, begin, stop in zip(shown, begins, [*begins[1:], len(luma)], strict=False):
            luma[begin:stop] = frame.luma
            time_s[begin:stop] = float(frame.time - start)
        return luma, time_s

    def _frames(self, pictures: Pictures, start: Fraction) -> NDArray[np.uint8]:
        """The RGB picture of every cell that the appearance encoder looks at."""
        frames = np.zeros((len(self._rgb_cells), *self._plan.rgb_size, 3), np.uint8)
        known = [frame for frame in (pictures.before_rgb, *pictures.inside) if frame is not None]
        for at, cell in enumerate(self._rgb_cells):
            rgb = _rgb_for(start + cell * self._plan.cell, self._plan.cell, known)
            if rgb is not None:
                frames[at] = rgb
        return frames


def _rgb_for(cell_start: Fraction, cell: Fraction, pictures: Sequence[VideoFrame]) -> NDArray[np.uint8] | None:
    """Return the RGB picture seen at the end of a cell, or else the nearest one; ``pictures`` are in order of time."""
    with_rgb = [frame for frame in pictures if frame.rgb is not None]
    for frame in reversed(with_rgb):
        if frame.time < cell_start + cell and frame.time + frame.hold > cell_start:
            return frame.rgb
    nearest = min(with_rgb, key=lambda frame: abs(frame.time - cell_start), default=None)
    return nearest.rgb if nearest else None
