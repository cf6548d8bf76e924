"""Findings on their way into files; each module is imported when it is first named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avdetect_cli.lazy import on_first_use

if TYPE_CHECKING:
    from avdetect_cli.output import delivery, pages, plan, writers

__all__ = ["delivery", "pages", "plan", "writers"]

if not TYPE_CHECKING:
    __getattr__ = on_first_use(__name__, __all__)
