"""Lines and numbers as people read them. Light: commands that draw nothing need no more than this."""

from __future__ import annotations

import typer

__all__ = ["say", "show_duration", "show_speed", "show_time"]


def say(text: str, *, quiet: bool) -> None:
    """On stderr: what is done is no result."""
    if not quiet:
        typer.echo(text, err=True)


def show_time(seconds: float) -> str:
    """``m:ss.mmm``, with hours before it where there are any."""
    total_ms = round(seconds * 1000)
    sign = "-" if total_ms < 0 else ""
    whole_s, ms = divmod(abs(total_ms), 1000)
    return f"{sign}{show_duration(whole_s)}.{ms:03}"


def show_duration(seconds: float) -> str:
    """``m:ss``, with hours before it where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_speed(factor: float) -> str:
    """``0.85x``, ``8.5x``, ``850x``: two or more digits that mean something."""
    return f"{factor:.2f}x" if factor < 1 else f"{factor:.1f}x" if factor < 100 else f"{factor:.0f}x"
