"""``avdetect serve``: many live feeds, around the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["serve"]


def serve(
    file: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="`avdetect config init` writes one to begin with.")
    ],
) -> None:
    """Watch many live feeds: keep events with clips, send them on, show a page.

    SIGHUP reads the configuration again and leaves feeds that did not change alone. SIGTERM and Ctrl-C close what is
    open, deliver it and end.
    """
    from avdetect.errors import UsageError
    from avdetect.serve.signals import orders_by_signal

    with orders_by_signal() as orders:  # before all that takes time to load
        try:
            from avdetect.serve.service import serve as run
        except ModuleNotFoundError as error:
            raise UsageError(f"{error.name} is not installed; `pip install 'avdetect[serve]'` brings it.") from error
        run(file, orders)
