"""Every sound codec that ffmpeg can encode is heard as ffmpeg hears it, sample by sample."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.synth.media import PLAN, MediaFactory, read, reference_sound

SOUND = replace(PLAN, want_video=False)
SWEEP = "aevalsrc='0.3*sin(2*PI*(300*t+150*t*t))+0.2*sin(880*PI*t)*gt(sin(2.6*PI*t),0)':s=48000:d=4"
RATES_AND_CHANNELS = [(48000, 2), (48000, 1), (44100, 2), (32000, 1), (16000, 1), (8000, 1), (22050, 2), (22050, 1)]
"""Tried one after the other: each encoder knows some of them."""
FRAME_S = 0.13
"""The longest frame of a codec, roughly."""
EVERY_CONTAINER = ("wav", "mkv", "avi")
LIKELY = [
    ("adpcm_ima_wav", "wav"), ("adpcm_ms", "wav"), ("adpcm_ima_qt", "mov"), ("adpcm_swf", "flv"), ("g722", "avi"),
    ("g723_1", "mkv"), ("nellymoser", "flv"), ("wmav2", "asf"), ("wmav2", "wav"), ("libvorbis", "avi"),
    ("real_144", "mkv"), ("truehd", "mkv"), ("s302m", "ts"), ("comfortnoise", "nut"), ("roq_dpcm", "mkv"),
    ("libmp3lame", "mp3"), ("libopus", "ogg"), ("alac", "mp4"), ("tta", "tta"), ("wavpack", "wv"), ("dca", "ts"),
]  # fmt: skip


def encoders() -> list[str]:
    listing = subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return sorted(row[1] for row in rows if len(row) > 1 and row[0][0] == "A" and row[1] != "=")


def encoded(media: MediaFactory, encoder: str, container: str) -> Path | None:
    """A file of that codec; ``None`` where the container does not carry it or ffmpeg itself cannot read it back."""
    for rate_hz, channels in RATES_AND_CHANNELS:
        form = ("-ar", str(rate_hz), "-ac", str(channels), "-c:a", encoder, "-strict", "-2")
        try:
            return media.ffmpeg(f"{encoder}.{container}", "-f", "lavfi", "-i", SWEEP, *form)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            (media.folder / f"{encoder}.{container}").unlink(missing_ok=True)
    return None


def lag_and_likeness(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> tuple[int, float]:
    """By how many samples the middle of ``theirs`` comes late in ``ours``, and how well they agree there."""
    begin, length = len(theirs) // 4, len(theirs) // 2
    piece, size = theirs[begin : begin + length].astype(float), 1 << (len(ours) + length).bit_length()
    products = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(piece, size)), size)
    at = int(np.argmax(products[: len(ours)]))
    found = ours[at : at + length].astype(float)
    return at - begin, float(found @ piece[: len(found)] / np.sqrt((found @ found) * (piece @ piece)))


def check(media: MediaFactory, encoder: str, container: str) -> bool:
    """Compare; false where there is nothing to compare."""
    path = encoded(media, encoder, container)
    if path is None:
        return False
    theirs = reference_sound(path)
    if len(theirs) < PLAN.rate_hz:
        return False
    contents = read(path, plan=SOUND)
    ours = contents.waveform
    assert abs(len(ours) - len(theirs)) <= FRAME_S * PLAN.rate_hz
    assert not contents.holes_s
    assert not contents.notes
    if np.abs(theirs).max() > 0.01 and encoder != "comfortnoise":
        lag, likeness = lag_and_likeness(ours, theirs)
        assert abs(lag) <= 16  # a millisecond
        assert likeness > 0.99
    return True


@pytest.mark.parametrize(("encoder", "container"), LIKELY, ids=lambda value: value)
def test_sound_equals_ffmpeg_s(media: MediaFactory, encoder: str, container: str) -> None:
    if not check(media, encoder, container):
        pytest.skip(f"this ffmpeg makes no {encoder} in {container}")


@pytest.mark.slow
@pytest.mark.parametrize("encoder", encoders())
def test_sound_equals_ffmpeg_s_in_every_container(media: MediaFactory, encoder: str) -> None:
    for container in EVERY_CONTAINER:
        path = encoded(media, encoder, container)
        if path is not None and is_decodable(path):
            check(media, encoder, container)


def is_decodable(path: Path) -> bool:
    """Whether the FFmpeg that is linked can be expected to decode it: some codecs only the program knows."""
    with av.open(path) as container:
        context = container.streams[0].codec_context
    return context is not None and (context.name, path.suffix) not in UNREADABLE


UNREADABLE = {("g726", ".nut"), ("adpcm_ima_wav", ".nut"), ("wmav1", ".nut"), ("wmav2", ".nut")}
"""NUT does not store how these codecs' packets are laid out; later versions of FFmpeg do not guess it."""
