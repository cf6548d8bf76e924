"""Small media files whose content is known: at one moment the picture turns white and a tone begins."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avdetect.media.packets import AudioChunk, MediaInfo, MediaNote, StreamPlan, VideoFrame
from avdetect.media.source import open_source

PLAN = StreamPlan(
    hop=Fraction(16, 25),
    cells_per_snippet=8,
    luma_size=(60, 80),
    rgb_size=(32, 32),
    rgb_cells=frozenset({4}),
    rate_hz=16_000,
)
EVENT_S = 1.2
"""When the flash and the tone begin, on a border between two cells."""
EVENT_LENGTH_S = 0.4
TONE_HZ = 1000
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "3")
AAC = ("-c:a", "aac", "-b:a", "96k")


class MediaFactory:
    """Makes each file once, in a folder of its own; a file is known by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ffmpeg(self, name: str, *arguments: str | Path) -> Path:
        """Run ffmpeg with ``arguments`` in front of the output's path, unless the file is there."""
        path = self.folder / name
        if not path.exists():
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments), str(path)]
            subprocess.run(command, check=True, timeout=300)
        return path

    def flash_and_tone(
        self,
        name: str,
        *,
        video: Sequence[str] = X264,
        audio: Sequence[str] = AAC,
        rate: str = "25",
        size: str = "160x120",
        duration_s: float = 3.0,
        video_filter: str = "null",
        audio_filter: str = "anull",
        audio_rate_hz: int = 48_000,
        options: Sequence[str] = (),
    ) -> Path:
        """A white flash and a 1 kHz tone at ``EVENT_S``; no video or no audio where its codec is empty."""
        streams = []
        if video:
            streams += ["-f", "lavfi", "-i", f"{flash(size, rate, duration_s)},{video_filter}"]
        if audio:
            streams += ["-f", "lavfi", "-i", f"{tone(audio_rate_hz, duration_s)},{audio_filter}"]
        return self.ffmpeg(name, *streams, *video, *audio, *options)


def flash(size: str, rate: str, duration_s: float) -> str:
    """Filter graph of the pictures."""
    when = f"between(t,{EVENT_S - 1e-4},{EVENT_S + EVENT_LENGTH_S - 1e-4})"
    return f"color=black:s={size}:r={rate}:d={duration_s},drawbox=c=white:t=fill:enable='{when}'"


def tone(rate_hz: int, duration_s: float) -> str:
    """Filter graph of the sound."""
    when = f"gte(t,{EVENT_S})*lt(t,{EVENT_S + EVENT_LENGTH_S})"
    return f"aevalsrc='{when}*0.5*sin({TONE_HZ}*2*PI*t)':s={rate_hz}:d={duration_s}"


@dataclass(frozen=True, eq=False)
class Contents:
    """All that a source handed out."""

    info: MediaInfo
    frames: list[VideoFrame]
    chunks: list[AudioChunk]
    notes: list[MediaNote]

    @property
    def codes(self) -> set[str]:
        return {note.code for note in self.notes}

    @property
    def brightness(self) -> NDArray[np.float64]:
        """Mean luma of each picture."""
        return np.array([frame.luma.mean() for frame in self.frames])

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Of the pictures."""
        return np.array([float(frame.time) for frame in self.frames])

    @property
    def flash_s(self) -> float:
        """Time of the first bright picture."""
        return float(self.times_s[np.argmax(self.brightness > 128)])

    @property
    def last_dark_s(self) -> float:
        """Time of the last picture before the flash."""
        return float(self.times_s[np.argmax(self.brightness > 128) - 1])

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The sound from the origin on, holes as zeros."""
        starts = [round(chunk.time * PLAN.rate_hz) for chunk in self.chunks]
        end = max(start + chunk.samples.size for start, chunk in zip(starts, self.chunks, strict=True))
        wave = np.zeros(end, np.float32)
        for start, chunk in zip(starts, self.chunks, strict=True):
            wave[start : start + chunk.samples.size] = chunk.samples
        return wave

    @property
    def tone_s(self) -> float:
        """Time of the first loud sample."""
        return float(np.argmax(np.abs(self.waveform) > 0.1) / PLAN.rate_hz)

    @property
    def holes_s(self) -> list[tuple[float, float]]:
        """Start and length of the holes between chunks of sound."""
        ends = [chunk.time + Fraction(chunk.samples.size, PLAN.rate_hz) for chunk in self.chunks]
        pairs = zip(ends[:-1], self.chunks[1:], strict=True)
        return [(float(end), float(after.time - end)) for end, after in pairs if after.time - end > 1e-3]


def read(
    uri: str | Path,
    *,
    plan: StreamPlan = PLAN,
    audio_track: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Contents:
    """Read a source to its end."""
    with open_source(uri, plan, audio_track=audio_track, start_s=start_s, duration_s=duration_s) as source:
        items = list(source.packets())
        frames = [item for item in items if isinstance(item, VideoFrame)]
        chunks = [item for item in items if isinstance(item, AudioChunk)]
        return Contents(source.info, frames, chunks, list(source.notes))


def reference_sound(path: Path, *arguments: str) -> NDArray[np.float32]:
    """The sound of a file as the ``ffmpeg`` program decodes it: mono, at the plan's rate, sample after sample."""
    output = ("-map", "0:a:0", "-ac", "1", "-ar", str(PLAN.rate_hz), "-f", "f32le", "-")
    command = ["ffmpeg", "-v", "quiet", "-nostdin", *arguments, "-i", str(path), *output]
    return np.frombuffer(subprocess.run(command, capture_output=True, timeout=60).stdout, np.float32)
