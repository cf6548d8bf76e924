"""What the caption formats share: a clock with milliseconds, and an event in a few words."""

from __future__ import annotations

from avdetect.events.event import Event, Modality

__all__ = ["caption", "cue_times", "one_line"]

_CARRIED: dict[Modality, str] = {"audio": "heard", "visual": "seen", "both": "heard and seen"}


def one_line(text: str) -> str:
    """``text`` with every run of white space, line ends and tabs included, as one space."""
    return " ".join(text.split())


def caption(event: Event) -> str:
    """For people: ``gunshot 87% (heard)``."""
    return f"{one_line(event.label)} {event.confidence:.0%} ({_CARRIED[event.modality]})"


def cue_times(event: Event, decimal_mark: str) -> str:
    """``00:00:01.920 --> 00:00:03.200``; the end is at least a millisecond after the start, as players ask."""
    start_ms = round(event.start_s * 1000)
    end_ms = max(round(event.end_s * 1000), start_ms + 1)
    return f"{_clock(start_ms, decimal_mark)} --> {_clock(end_ms, decimal_mark)}"


def _clock(time_ms: int, decimal_mark: str) -> str:
    total_s, ms = divmod(time_ms, 1000)
    minutes, seconds = divmod(total_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{ms:03}"
