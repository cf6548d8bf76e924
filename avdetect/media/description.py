"""What a container and its decoders say of a source."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from av.container.input import InputContainer

from avdetect.media.audio import AudioTrack
from avdetect.media.container import audio_tracks
from avdetect.media.packets import MediaInfo
from avdetect.media.video import VideoTrack

__all__ = ["describe"]


def describe(
    container: InputContainer,
    *,
    uri: str,
    origin: Fraction,
    duration_s: float | None,
    video: VideoTrack | None,
    audio: AudioTrack | None,
) -> MediaInfo:
    """What is known once the tracks have started.

    Args:
        container: open.
        uri: as users may see it.
        origin: of the grid, seconds on the container's clock.
        duration_s: from the origin, where it is declared.
        video: the pictures that are looked at.
        audio: the sound that is heard.
    """
    info = MediaInfo(
        uri=uri,
        format=container.format.name,
        duration_s=duration_s,
        origin_s=float(origin),
        audio_tracks=audio_tracks(container),
    )
    if video is not None:
        context = video.stream.codec_context
        turned = video.rotation % 180 != 0
        rate_hz = video.stream.average_rate or video.stream.guessed_rate
        info = replace(
            info,
            video_codec=context.name,
            width=context.height if turned else context.width,
            height=context.width if turned else context.height,
            frame_rate_hz=float(rate_hz) if rate_hz else None,
            pixel_format=context.pix_fmt or "",
            rotation=video.rotation,
        )
    if audio is not None:
        context_of_audio = audio.stream.codec_context
        info = replace(
            info,
            audio_codec=context_of_audio.name,
            audio_rate_hz=context_of_audio.rate,
            audio_channels=context_of_audio.layout.nb_channels,
        )
    return info
