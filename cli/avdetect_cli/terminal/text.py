"""Lines and numbers as people read them. Light: commands that draw nothing need no more than this."""

from __future__ import annotations

from contextlib import suppress

import typer

from avdetect.errors import printable

__all__ = ["out", "say", "show_duration", "show_speed", "show_time", "warn"]


def out(*lines: str) -> None:
    """Print lines on standard output; what would steer a terminal is escaped."""
    typer.echo("\n".join(map(printable, lines)))


def say(*lines: str, quiet: bool) -> None:
    """Print what is done on standard error, for it is no result."""
    if not quiet:
        with suppress(OSError):  # nobody can be told
            typer.echo("\n".join(map(printable, lines)), err=True)


def warn(message: str) -> None:
    """Print a message of avdetect's own on standard error; that of an error may have several lines."""
    say(*f"avdetect: {message}".split("\n"), quiet=False)


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
