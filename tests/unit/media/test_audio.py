from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avdetect.media.audio import AudioTrack
from avdetect.media.clock import ClockRepair
from avdetect.media.demux import Demuxer
from avdetect.media.losses import Damage
from tests.synth.media import EVENT_LENGTH_S, EVENT_S, PLAN, TONE_HZ, MediaFactory, read

WAV = ("-c:a", "pcm_s16le")


def peak(waveform: np.ndarray) -> float:
    """Highest amplitude in the middle of the tone."""
    middle = slice(int((EVENT_S + 0.1) * PLAN.rate_hz), int((EVENT_S + 0.3) * PLAN.rate_hz))
    return float(np.abs(waveform[middle]).max())


@pytest.mark.parametrize(
    ("codec", "rate_hz"),
    [
        ("pcm_s16le", 48_000),
        ("pcm_s16le", 44_100),
        ("pcm_s16le", 16_000),
        ("pcm_s16le", 8_000),
        ("pcm_u8", 11_025),
        ("pcm_s24le", 96_000),
        ("pcm_s32le", 22_050),
        ("pcm_f32le", 16_000),
        ("pcm_f64le", 48_000),
        ("pcm_mulaw", 8_000),
        ("flac", 48_000),
        ("libopus", 48_000),
    ],
)
def test_every_rate_and_sample_format_becomes_mono_at_the_plan_s_rate(
    media: MediaFactory, codec: str, rate_hz: int
) -> None:
    path = media.flash_and_tone(
        f"{codec}_{rate_hz}.mkv", video=(), audio=("-c:a", codec), audio_rate_hz=rate_hz, duration_s=2
    )
    contents = read(path)
    wave = contents.waveform
    assert contents.info.audio_rate_hz == rate_hz
    assert wave.dtype == np.float32
    assert wave.size / PLAN.rate_hz == pytest.approx(2, abs=0.02)
    assert contents.tone_s == pytest.approx(EVENT_S, abs=0.001 if codec != "libopus" else 0.01)
    assert peak(wave) == pytest.approx(0.5, abs=0.03)
    tone = wave[int(EVENT_S * PLAN.rate_hz) : int((EVENT_S + EVENT_LENGTH_S) * PLAN.rate_hz)]
    assert np.argmax(np.abs(np.fft.rfft(tone))) / (tone.size / PLAN.rate_hz) == pytest.approx(TONE_HZ, abs=3)


@pytest.mark.parametrize("layout", ["stereo", "5.1", "7.1"])
def test_channels_are_mixed_down_without_clipping(media: MediaFactory, layout: str) -> None:
    channels = {"stereo": 2, "5.1": 6, "7.1": 8}[layout]
    same = "|".join(f"c{i}=c0" for i in range(channels))
    path = media.flash_and_tone(f"{layout}.mkv", video=(), audio=WAV, audio_filter=f"volume=1.98,pan={layout}|{same}")
    wave = read(path).waveform
    assert 0.95 < peak(wave) <= 1.02


def test_one_loud_channel_of_six_is_still_heard(media: MediaFactory) -> None:
    path = media.flash_and_tone(
        "centre.mkv", video=(), audio=WAV, audio_filter="pan=5.1|FL=0*c0|FR=0*c0|FC=c0|LFE=0*c0|BL=0*c0|BR=0*c0"
    )
    assert peak(read(path).waveform) > 0.1


def test_a_click_lands_on_its_sample(media: MediaFactory) -> None:
    click = "aevalsrc='eq(n,24000)*0.9':s=48000:d=1"
    path = media.ffmpeg("click.wav", "-f", "lavfi", "-i", click)
    assert int(np.argmax(np.abs(read(path).waveform))) == 8000


def test_blocks_join_without_a_seam(media: MediaFactory) -> None:
    path = media.ffmpeg("hum.wav", "-f", "lavfi", "-i", "aevalsrc='0.5*sin(2*PI*100*t)':s=44100:d=4")
    contents = read(path)
    assert contents.holes_s == []
    time_s = np.arange(contents.waveform.size) / PLAN.rate_hz
    inner = slice(100, -100)
    error = contents.waveform - 0.5 * np.sin(2 * np.pi * 100 * time_s)
    assert np.abs(error[inner]).max() < 1e-3


def test_a_hole_stays_a_hole_and_jitter_does_not(media: MediaFactory) -> None:
    shifted = "asetnsamples=480,asetpts='PTS+if(gt(T,2),0.5/TB,0)+0.01/TB*mod(N,2)'"
    path = media.flash_and_tone("gap.mkv", video=(), audio=WAV, audio_filter=shifted)
    contents = read(path)
    [(start_s, length_s)] = contents.holes_s
    assert start_s == pytest.approx(2, abs=0.05)
    assert length_s == pytest.approx(0.5, abs=0.05)
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(3.5, abs=0.05)


def test_sound_that_overlaps_is_heard_once(media: MediaFactory) -> None:
    back = "asetnsamples=480,asetpts='PTS-if(gt(T,2),0.3/TB,0)'"
    path = media.flash_and_tone("overlap.nut", video=(), audio=WAV, audio_filter=back)
    contents = read(path)
    ends = [float(chunk.time) + chunk.samples.size / PLAN.rate_hz for chunk in contents.chunks]
    assert all(after.time >= end - 1e-4 for end, after in zip(ends[:-1], contents.chunks[1:], strict=True))
    assert contents.waveform.size / PLAN.rate_hz == pytest.approx(2.7, abs=0.1)


def test_a_format_that_changes_on_the_way_is_followed(media: MediaFactory, tmp_path: Path) -> None:
    parts = [
        media.flash_and_tone(
            f"part{rate_hz}.mp3", video=(), audio=("-c:a", "libmp3lame"), audio_rate_hz=rate_hz,
            audio_filter=f"pan={layout}", duration_s=2, options=("-write_xing", "0"),
        )
        for rate_hz, layout in ((44_100, "stereo|c0=c0|c1=c0"), (48_000, "mono|c0=c0"))
    ]  # fmt: skip
    path = tmp_path / "changing.mp3"
    path.write_bytes(b"".join(part.read_bytes()[45 * (i > 0) :] for i, part in enumerate(parts)))
    contents = read(path)
    assert peak(contents.waveform) == pytest.approx(0.5, abs=0.05)
    assert peak(contents.waveform[2 * PLAN.rate_hz :]) == pytest.approx(0.5, abs=0.05)


def test_samples_that_are_no_numbers_are_silence(tmp_path: Path) -> None:
    samples = np.full(16_000, 0.25, "<f4")
    samples[100:200] = np.nan
    samples[300] = np.inf
    header = (
        b"RIFF" + (36 + samples.nbytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        + (3).to_bytes(2, "little") + (1).to_bytes(2, "little") + (16_000).to_bytes(4, "little")
        + (64_000).to_bytes(4, "little") + (4).to_bytes(2, "little") + (32).to_bytes(2, "little")
        + b"data" + samples.nbytes.to_bytes(4, "little")
    )  # fmt: skip
    path = tmp_path / "nan.wav"
    path.write_bytes(header + samples.tobytes())
    wave = read(path).waveform
    assert np.isfinite(wave).all()
    assert wave[150] == 0
    assert wave[1000] == 0.25


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_chunks_reach_each_border_as_soon_as_their_packets_have_come(media: MediaFactory, rate_hz: int) -> None:
    """And the samples are the same, however they are cut."""
    path = media.flash_and_tone(f"blocks_{rate_hz}.mkv", video=(), audio=WAV, audio_rate_hz=rate_hz, duration_s=3)
    whole = read(path).waveform
    block_s = Fraction(4, 25)
    damage = Damage()
    with av.open(path) as container:
        stream = container.streams.audio[0]
        clock = ClockRepair([stream], clock_may_jump=False)
        track = AudioTrack(
            stream, Demuxer(container, [stream], clock, damage, None, "blocks"), damage, PLAN.rate_hz, block_s=block_s
        )
        origin = track.start()
        assert origin is not None
        chunks = [chunk for chunk in track.chunks(origin, Fraction(0), None) if chunk is not None]
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), whole)
    ends = [chunk.time + Fraction(chunk.samples.size, PLAN.rate_hz) for chunk in chunks[:-2]]
    assert len(ends) > 15
    packet_s = Fraction(1024, rate_hz) + Fraction(3, 1000)  # a chunk ends with the packet that reaches past the border
    assert all(end % block_s <= packet_s for end in ends)
    assert [end // block_s for end in ends] == sorted({end // block_s for end in ends})
