"""Scenes -> video files, and the manifest that says what happens in them when."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avdetect.errors import MediaError, OutputError
from avdetect.files import replacing
from avdetect.labels.videos import TrueEvent
from avdetect.media.location import file_url, locate
from avdetect.timebase import Span
from avdetect.training.scenes.library import FORMAT, RATE_HZ, Library, fit, padded
from avdetect.training.scenes.scene import Scene, SceneOptions, Shot, compose_scene, moved

__all__ = ["write_scene", "write_scenes"]

MANIFEST_NAME = "scenes.jsonl"
RATE_FPS = 25


def write_scenes(
    library: Library,
    folder: Path,
    options: SceneOptions,
    *,
    num_scenes: int,
    seed: int,
    on_done: Callable[[int, int], None] | None = None,
) -> Path:
    """Compose scenes and write them to ``folder``, which must be there.

    Args:
        library: what they are composed of.
        folder: where videos and manifest go.
        options: how they are composed.
        num_scenes: how many.
        seed: the same seed gives the same scenes.
        on_done: called with the number of scenes written and to write, after each.

    Returns:
        The manifest, a line for each video: ``video``, ``duration``, ``fps``, ``label``, ``classes``, ``events``
        and ``distractors``, as ``evaluate`` and ``train`` read it.

    Raises:
        OutputError: the folder cannot be written.
        MediaError: a clip cannot be read any more.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(num_scenes):
        scene = compose_scene(library, options, rng)
        name = f"scene_{number:04d}.mp4"
        with replacing(folder / name) as temporary:
            write_scene(scene, temporary)
        rows.append(_row(scene, name))
        if on_done is not None:
            on_done(number + 1, num_scenes)
    path = folder / MANIFEST_NAME
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_scene(scene: Scene, path: Path) -> None:
    """Write a scene as MP4: H.264, 320x240, 25 pictures a second, and AAC.

    Raises:
        OutputError: it cannot be written.
        MediaError: a clip cannot be read any more.
    """
    try:
        with av.open(file_url(path), "w", format="mp4") as container:
            video = container.add_stream("libx264", rate=RATE_FPS, options={"preset": "veryfast", "crf": "24"})
            video.height, video.width, video.pix_fmt = *FORMAT, "yuv420p"
            audio = container.add_stream("aac", rate=RATE_HZ, layout="mono")
            number = 0
            for shot in scene.shots:
                last = round(shot.span.end_s * RATE_FPS)
                for picture in _pictures(shot, last - number):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts, frame.time_base = number, Fraction(1, RATE_FPS)
                    container.mux(video.encode(frame))
                    number += 1
                # Sound as far as the picture, so that neither has to be looked for in the file.
                begin, end = round((shot.span.start_s) * RATE_HZ), round(shot.span.end_s * RATE_HZ)
                sound = av.AudioFrame.from_ndarray(scene.samples[None, begin:end], format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = RATE_HZ, begin, Fraction(1, RATE_HZ)
                container.mux(audio.encode(sound))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
    except MediaError:
        raise
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"cannot write {path}: {error}.") from error


def _pictures(shot: Shot, count: int) -> list[NDArray[np.uint8]]:
    """So many RGB pictures of a shot; the last one stays where the clip has no more."""
    pictures: list[NDArray[np.uint8]] = []
    first = shot.first_picture * 2  # clips are kept at half of this rate
    begin: float | None = None
    seen = 0
    try:
        with av.open(locate(shot.clip.path).url) as container:
            for frame in container.decode(video=0):
                if frame.time is None:
                    continue
                begin = frame.time if begin is None else begin
                reached = int((frame.time - begin) * RATE_FPS + 0.5) + 1
                if reached > first:
                    height, width = fit(frame.height, frame.width)
                    rgb = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
                    picture = moved(padded(np.asarray(rgb, np.uint8)), shot)
                    pictures.extend([picture] * min(reached - max(seen, first), count - len(pictures)))
                seen = max(seen, reached)
                if len(pictures) >= count:
                    break
    except (OSError, av.FFmpegError) as error:
        raise MediaError(f"{shot.clip.path} cannot be read as a clip: {error}.") from error
    if not pictures:
        raise MediaError(f"{shot.clip.path} has become shorter than it was.")
    return pictures + [pictures[-1]] * (count - len(pictures))


def _row(scene: Scene, name: str) -> dict[str, Any]:
    of_events = {span for event in scene.events for _, span in event.parts}
    return {
        "video": name,
        "duration": round(scene.duration_s, 3),
        "fps": RATE_FPS,
        "label": int(bool(scene.events)),
        "classes": sorted(scene.classes),
        "events": [_event(event) for event in scene.events],
        "distractors": [{**_times(span), "class": label} for label, span in scene.sounds if span not in of_events],
    }


def _event(event: TrueEvent) -> dict[str, Any]:
    row: dict[str, Any] = {**_times(event.span), "class": event.class_name, "modality": event.modality}
    if event.modality == "audio-visual":
        (_, seen), (heard_label, heard) = event.parts
        row |= {
            "audio_class": heard_label,
            "audio": list(_times(heard).values()),
            "visual": list(_times(seen).values()),
        }
    return row


def _times(span: Span) -> dict[str, float]:
    return {"start": round(span.start_s, 3), "end": round(span.end_s, 3)}
