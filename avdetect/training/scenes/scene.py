"""How a scene comes about: START READING HERE.

load_library      clips and sounds in memory
compose_scene     shots, sounds and events, drawn at random: what is seen and heard when
picture_at        a picture of it, in memory
write_scene       all of it, as a file

A scene is composed in the manner of AVBench: its picture is a row of short shots, runs of them from one place; its
sound is a background, the shots' own sound and single sounds on top. Scenes in which nothing happens have as many
single sounds as others, all of them harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from avdetect.errors import UsageError
from avdetect.labels.videos import TrueEvent, TrueModality
from avdetect.timebase import Span
from avdetect.training.scenes.library import FORMAT, PICTURE_RATE_HZ, RATE_HZ, Library, PictureClip, Sound
from avdetect.training.sound.variation import active_rms, varied

__all__ = ["Scene", "SceneOptions", "Shot", "compose_scene", "picture_at"]

Range = tuple[float, float]
Thing = TypeVar("Thing")
_LEAST_SHOT_S = 0.4
"""No shot is shorter: what it would be for takes the cut before."""
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """How scenes are composed; a pair is a range to draw from."""

    duration_s: Range = (20.0, 75.0)
    positive_share: float = 0.5
    """Of the scenes, in how many something happens."""
    num_events: tuple[int, int] = (1, 4)
    """In such a scene; fewer fit into a short one."""
    modality_shares: tuple[float, float, float] = (0.4, 0.3, 0.3)
    """How many events are only heard, only seen, or both."""
    seen_event_s: Range = (2.0, 8.0)
    heard_event_s: Range = (1.0, 6.0)
    """How long an event is heard: as one sound, or as several of its kind one after the other, as shots come."""
    single_share: float = 0.25
    """Of the heard events, how many are one sound, however short."""
    asynchrony_s: float = 3.0
    """By how much the sound of an event may begin before or after its picture."""
    event_gap_s: float = 2.0
    """Between two events."""
    shot_s: Range = (1.4, 2.6)
    shots_per_run: tuple[int, int] = (3, 8)
    """Shots one after the other from the same place."""
    seconds_per_sound: Range = (4.0, 9.0)
    """One single sound for so many seconds."""
    harmless_s: Range = (1.0, 5.0)
    """The longest that a harmless sound may be, drawn for each."""
    snr_db: Range = (-3.0, 15.0)
    """Of a single sound while it is heard, over the background."""
    varied_share: float = 0.0
    """Of the single sounds, how many are varied in pitch, colour and room: to train with, not to measure with."""
    own_sound_share: float = 0.75
    """Of the scenes, in how many the clips are heard."""
    shift_pixels: int = 12
    brightness: float = 20.0
    """Grey levels by which a shot is brighter or darker, at most."""
    contrast: Range = (0.85, 1.15)

    def __post_init__(self) -> None:
        for name in ("duration_s", "num_events", "seen_event_s", "heard_event_s", "shot_s", "shots_per_run", "snr_db"):
            low, high = getattr(self, name)
            if not low <= high:
                raise UsageError(f"{name} must be a range from low to high, got {low:g} to {high:g}.")
        if not 0 <= self.positive_share <= 1:
            raise UsageError(f"positive_share must be between 0 and 1, got {self.positive_share:g}.")
        if self.duration_s[0] < self.shot_s[1]:
            raise UsageError(f"a scene must be at least as long as a shot, {self.shot_s[1]:g} s.")


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A stretch of one clip."""

    clip: PictureClip
    first_picture: int
    """Of the clip."""
    span: Span
    mirrored: bool
    shift: tuple[int, int]
    """Pixels down and to the right."""
    gain: float
    offset: float
    """A luma of ``x`` becomes ``gain * (x - 128) + 128 + offset``."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is seen and heard, and what happens."""

    duration_s: float
    shots: tuple[Shot, ...]
    """Without a hole."""
    samples: Samples
    """Mono at 16 kHz, within [-1, 1]."""
    events: tuple[TrueEvent, ...]
    """In order of their start."""
    sounds: tuple[tuple[str, Span], ...]
    """Every single sound, harmless ones too, with its class."""

    @property
    def classes(self) -> frozenset[str]:
        """Of all that happens."""
        return frozenset(name for event in self.events for name, _ in event.parts)

    def spans(self, label: str) -> list[Span]:
        """Where a class is heard or seen."""
        return [span for event in self.events for name, span in event.parts if name == label]


@dataclass(frozen=True, slots=True)
class _Planned:
    """An event before there is anything to show for it."""

    modality: TrueModality
    seen: Span | None
    heard_at_s: float | None


def compose_scene(library: Library, options: SceneOptions, rng: np.random.Generator) -> Scene:
    """Draw a scene.

    Args:
        library: what to compose it of.
        options: how.
        rng: decides all that is left open: the same state gives the same scene.
    """
    duration_s = round(float(rng.uniform(*options.duration_s)) * RATE_HZ) / RATE_HZ
    positive = bool(rng.random() < options.positive_share)
    planned = _plan(library, options, duration_s, rng) if positive else []
    shots, seen = _picture(library, options, duration_s, [one.seen for one in planned if one.seen], rng)
    samples, heard, sounds = _sound(library, options, duration_s, shots, planned, rng)
    return Scene(duration_s, tuple(shots), samples, tuple(_events(planned, seen, heard)), tuple(sounds))


def picture_at(scene: Scene, time_s: float) -> NDArray[np.uint8]:
    """The luma on show at ``time_s``, full range, ``(height, width)``."""
    shot = next((one for one in scene.shots if time_s < one.span.end_s), scene.shots[-1])
    index = shot.first_picture + int((time_s - shot.span.start_s) * float(PICTURE_RATE_HZ))
    return moved(shot.clip.luma[min(index, len(shot.clip.luma) - 1)], shot)


def moved(picture: NDArray[np.uint8], shot: Shot) -> NDArray[np.uint8]:
    """Mirrored, shifted and of another brightness, as the shot has it; black comes in at the border.

    Args:
        picture: luma ``(height, width)`` or RGB ``(height, width, 3)`` in the format.
        shot: says how.
    """
    down, right = shot.shift
    height, width = FORMAT
    source = picture[:, ::-1] if shot.mirrored else picture
    table = np.clip(shot.gain * (np.arange(256.0) - 128) + 128 + shot.offset, 0, 255).astype(np.uint8)
    out = np.zeros_like(picture)
    out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = table[
        source[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    ]
    return out


def _plan(library: Library, options: SceneOptions, duration_s: float, rng: np.random.Generator) -> list[_Planned]:
    """Where events are to be; at least one."""
    seen_labels = {clip.label for clip in library.clips} - {None}
    heard = any(sound.label in library.heard_events for sound in library.sounds)
    shares = np.array(options.modality_shares) * (heard, bool(seen_labels), heard and bool(seen_labels))
    if not shares.any():
        raise UsageError("nothing can happen in a scene: there are neither clips nor sounds of events.")
    planned: list[_Planned] = []
    taken: list[Span] = []
    for _ in range(int(rng.integers(options.num_events[0], options.num_events[1] + 1))):
        kind = int(rng.choice(3, p=shares / shares.sum()))
        length = float(rng.uniform(*(options.heard_event_s if kind == 0 else options.seen_event_s)))
        length = min(length, duration_s * 0.6)
        for _ in range(20):
            start = float(rng.uniform(0, duration_s - length))
            lead = float(rng.uniform(-options.asynchrony_s, options.asynchrony_s)) if kind == 2 else 0.0
            reach = Span(start + min(lead, 0.0), start + length + max(lead, 0.0) + (2.0 if kind == 2 else 0.0))
            if all(
                reach.end_s + options.event_gap_s < other.start_s or other.end_s + options.event_gap_s < reach.start_s
                for other in taken
            ):
                taken.append(reach)
                planned.append(
                    _Planned(
                        ("audio", "visual", "audio-visual")[kind],
                        None if kind == 0 else Span(start, start + length),
                        None if kind == 1 else min(max(start + lead, 0.0), duration_s - 1.0),
                    )
                )
                break
    return planned


def _picture(
    library: Library, options: SceneOptions, duration_s: float, wanted: Sequence[Span], rng: np.random.Generator
) -> tuple[list[Shot], list[tuple[str, Span]]]:
    """Shots for the whole scene, and where something is really seen: its borders are cuts."""
    places = library.clips_by_place
    quiet = {place: normal for place, clips in places.items() if (normal := [c for c in clips if c.label is None])}
    lively = {place: some for place, clips in places.items() if (some := [c for c in clips if c.label is not None])}
    spans = sorted(wanted)
    # A fight is set among quiet clips of the same place where there are such.
    homes = [_one_of(sorted(lively), rng) for _ in spans]
    shots: list[Shot] = []
    seen: list[tuple[str, Span]] = []
    now_s = 0.0
    for span, home in zip([*spans, None], [*homes, None], strict=True):
        until_s = duration_s if span is None else span.start_s
        while now_s < until_s - _LEAST_SHOT_S:
            near = home is not None and home in quiet and until_s - now_s < 3 * options.shot_s[1]
            place = home if near and home is not None else _one_of(sorted(quiet), rng)
            for _ in range(int(rng.integers(options.shots_per_run[0], options.shots_per_run[1] + 1))):
                if now_s >= until_s - _LEAST_SHOT_S:
                    break
                shots.append(_shot(_one_of(quiet[place], rng), now_s, until_s, options, rng))
                now_s = shots[-1].span.end_s
        if span is None or home is None:
            continue
        label = _one_of(sorted({str(clip.label) for clip in lively[home]}), rng)
        clips = [clip for clip in lively[home] if clip.label == label]
        order = rng.permutation(len(clips))
        end_s, begin_s, number = min(span.end_s, duration_s), now_s, 0
        while now_s < end_s - _LEAST_SHOT_S:
            shots.append(_shot(clips[order[number % len(clips)]], now_s, end_s, options, rng))
            now_s, number = shots[-1].span.end_s, number + 1
        seen.append((label, Span(begin_s, now_s)))
    shots[-1] = replace(shots[-1], span=Span(shots[-1].span.start_s, duration_s))
    return shots, seen


def _shot(clip: PictureClip, start_s: float, until_s: float, options: SceneOptions, rng: np.random.Generator) -> Shot:
    """A stretch of ``clip`` that is over by ``until_s``."""
    length_s = min(float(rng.uniform(*options.shot_s)), len(clip.luma) / float(PICTURE_RATE_HZ), until_s - start_s)
    spare = max(len(clip.luma) - int(length_s * float(PICTURE_RATE_HZ)) - 1, 0)
    shift = rng.integers(-options.shift_pixels, options.shift_pixels + 1, 2)
    return Shot(
        clip=clip,
        first_picture=int(rng.integers(spare + 1)),
        span=Span(start_s, start_s + length_s),
        mirrored=bool(rng.random() < 0.5),
        shift=(int(shift[0]), int(shift[1])),
        gain=float(rng.uniform(*options.contrast)),
        offset=float(rng.uniform(-options.brightness, options.brightness)),
    )


def _sound(
    library: Library,
    options: SceneOptions,
    duration_s: float,
    shots: Sequence[Shot],
    planned: Sequence[_Planned],
    rng: np.random.Generator,
) -> tuple[Samples, list[tuple[str, Span]], list[tuple[str, Span]]]:
    """The samples, the sound of each planned event that has one, in their order, and all single sounds."""
    by_label = library.sounds_by_label
    events = sorted(label for label in by_label if label in library.heard_events)
    harmless = sorted(label for label in by_label if label not in library.heard_events)
    num_samples = round(duration_s * RATE_HZ)
    background = _background(library, options, num_samples, shots, rng)
    mix = background.copy()
    sounds: list[tuple[str, Span]] = []

    def another(sound: Sound) -> Samples:
        return varied(sound.samples, RATE_HZ, rng) if rng.random() < options.varied_share else sound.samples

    def lay(sound: Sound, start_s: float, longest_s: float, *, again: bool = False) -> Span | None:
        samples = _faded(another(sound)[: int(longest_s * RATE_HZ)])
        while again and len(samples) < 0.8 * longest_s * RATE_HZ:
            more = another(sound if rng.random() < 0.7 else _one_of(by_label[sound.label], rng))
            gap = np.zeros(int(rng.uniform(0.02, 0.7) * RATE_HZ), np.float32)
            more = more * np.float32(active_rms(samples) / active_rms(more) * 10 ** (rng.uniform(-6, 3) / 20))
            samples = np.concatenate((samples, gap, _faded(more)))[: int(longest_s * RATE_HZ)]
        begin = round(start_s * RATE_HZ)
        samples = samples[: num_samples - begin]
        if len(samples) < RATE_HZ // 10:
            return None
        behind = background[begin : begin + len(samples)]
        level = np.sqrt(np.mean(np.square(behind, dtype=np.float64))) + 1e-4
        gain = level * 10 ** (float(rng.uniform(*options.snr_db)) / 20) / active_rms(samples)
        mix[begin : begin + len(samples)] += samples * np.float32(gain)
        span = Span(begin / RATE_HZ, (begin + len(samples)) / RATE_HZ)
        sounds.append((sound.label, span))
        return span

    heard: list[tuple[str, Span]] = []
    for one in planned:
        if one.heard_at_s is not None:
            sound = _one_of(by_label[_one_of(events, rng)], rng)
            repeated = bool(rng.random() >= options.single_share)
            span = lay(sound, one.heard_at_s, float(rng.uniform(*options.heard_event_s)), again=repeated)
            heard.append((sound.label, span or Span(one.heard_at_s, min(one.heard_at_s + 0.1, duration_s))))
    num_single = round(duration_s / float(rng.uniform(*options.seconds_per_sound)))
    for _ in range(max(num_single - len(heard), 0) if harmless else 0):
        sound = _one_of(by_label[_one_of(harmless, rng)], rng)
        longest_s = float(rng.uniform(*options.harmless_s))
        start_s = _free_start(longest_s, duration_s, [span for _, span in sounds], rng)
        if start_s is not None:
            lay(sound, start_s, longest_s)
    peak = float(np.abs(mix).max())
    mix *= np.float32(10 ** rng.uniform(-1.2, -0.05) / max(peak, 1e-6))
    return mix, heard, sorted(sounds, key=lambda sound: sound[1])


def _free_start(length_s: float, duration_s: float, taken: Sequence[Span], rng: np.random.Generator) -> float | None:
    """Where a sound meets no other one; ``None`` where no such place was found."""
    for _ in range(20):
        start_s = float(rng.uniform(0, duration_s - 0.5))
        if all(start_s + length_s < span.start_s or span.end_s < start_s for span in taken):
            return start_s
    return None


def _background(
    library: Library, options: SceneOptions, num_samples: int, shots: Sequence[Shot], rng: np.random.Generator
) -> Samples:
    """Some place's sound, and what the shots sound like; that of an event is replaced by that of other clips."""
    beds = [sound for sound in library.sounds if sound.label in library.beds]
    background = np.zeros(num_samples, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        bed = _one_of(beds, rng).samples
        background += _looped(bed / np.float32(active_rms(bed)), num_samples, rng) * np.float32(rng.uniform(0.3, 1.0))
    audible = [clip.sound for clip in library.clips if clip.sound is not None and clip.label is None]
    if audible and rng.random() < options.own_sound_share:
        level = float(rng.uniform(0.2, 1.0))
        for shot in shots:
            own = shot.clip.sound if shot.clip.label is None else _one_of(audible, rng)
            if own is None:
                continue
            begin, end = round(shot.span.start_s * RATE_HZ), round(shot.span.end_s * RATE_HZ)
            skip = int(shot.first_picture / float(PICTURE_RATE_HZ) * RATE_HZ) if shot.clip.label is None else 0
            part = own[skip : skip + end - begin]
            if len(part) > RATE_HZ // 10:
                background[begin : begin + len(part)] += _faded(part / np.float32(active_rms(part)) * np.float32(level))
    return background


def _looped(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """From somewhere in ``samples``, over and over, for ``length`` samples."""
    repeated = np.tile(samples, length // len(samples) + 2)
    first = int(rng.integers(len(samples)))
    return repeated[first : first + length]


def _faded(samples: Samples) -> Samples:
    """With 10 ms to rise and to fall."""
    length = min(RATE_HZ // 100, len(samples) // 4)
    result = samples.copy()
    slope = np.linspace(0, 1, length, dtype=np.float32)
    result[:length] *= slope
    result[len(result) - length :] *= slope[::-1]
    return result


def _events(
    planned: Sequence[_Planned], seen: Sequence[tuple[str, Span]], heard: Sequence[tuple[str, Span]]
) -> list[TrueEvent]:
    """What became of the plan. An event that is seen and heard spans both, and is called by what is seen."""
    pictures = dict(zip(sorted(one.seen for one in planned if one.seen), seen, strict=True))
    sounds = iter(heard)
    events = []
    for one in planned:
        parts = []
        if one.seen is not None:
            parts.append(pictures[one.seen])
        if one.heard_at_s is not None:
            parts.append(next(sounds))
        span = Span(min(part.start_s for _, part in parts), max(part.end_s for _, part in parts))
        events.append(TrueEvent(span, parts[0][0], one.modality, tuple(parts)))
    return sorted(events, key=lambda event: event.span)


def _one_of(things: Sequence[Thing], rng: np.random.Generator) -> Thing:
    return things[int(rng.integers(len(things)))]
