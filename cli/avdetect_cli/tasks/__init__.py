"""What commands do once their options are read; each module is imported when a command first names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avdetect_cli.lazy import on_first_use

if TYPE_CHECKING:
    from avdetect_cli.tasks import (
        asking,
        bundles,
        checks,
        choices,
        composing_scenes,
        evaluating,
        hearing,
        measuring_text,
        preparing,
        running_live,
        scoring,
        serving,
        training,
        training_sound,
    )

__all__ = [
    "asking",
    "bundles",
    "checks",
    "choices",
    "composing_scenes",
    "evaluating",
    "hearing",
    "measuring_text",
    "preparing",
    "running_live",
    "scoring",
    "serving",
    "training",
    "training_sound",
]

if not TYPE_CHECKING:
    __getattr__ = on_first_use(__name__, __all__)
