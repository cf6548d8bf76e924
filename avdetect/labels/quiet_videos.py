"""Footage without labels in which nothing happened: what a site has most of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avdetect.errors import DataError
from avdetect.labels.videos import LabelledVideo


def quiet_videos(paths: Sequence[str]) -> tuple[LabelledVideo, ...]:
    """Recordings, each labelled as one in which nothing happens.

    Args:
        paths: of the recordings.

    Raises:
        DataError: there is none, or one is not there.
    """
    if not paths:
        raise DataError("there is no recording in which nothing happens: name files or folders of them.")
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise DataError(f"there is no recording at {missing[0]}.")
    return tuple(
        LabelledVideo(name=path, where=path, media=Path(path), classes=frozenset(), positive=False, events=())
        for path in paths
    )
