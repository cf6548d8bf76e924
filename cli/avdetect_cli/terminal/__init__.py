"""What a person sees; each module is imported when it is first named, because rich takes a while to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avdetect_cli.lazy import on_first_use

if TYPE_CHECKING:
    from avdetect_cli.terminal import answers, bars, figures, live_view, progress, summary, text, timeline

__all__ = ["answers", "bars", "figures", "live_view", "progress", "summary", "text", "timeline"]

if not TYPE_CHECKING:
    __getattr__ = on_first_use(__name__, __all__)
