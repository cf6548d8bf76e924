"""The polyphonic sound detection score, through ``sed_scores_eval``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from avdetect.errors import UsageError
from avdetect.events.curve import ScoreCurve
from avdetect.timebase import Span

__all__ = ["psds", "require_sed_scores_eval"]

_INTERSECTION = 0.5
"""DTC and GTC: the share of a detection that must lie in events, and of an event that detections must cover."""
_MAX_FALSE_PER_HOUR = 100.0
_TIME_DECIMALS = 6


def require_sed_scores_eval() -> None:
    """Notice before an hour of scoring that the score could not be computed.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        import sed_scores_eval  # noqa: F401
    except ImportError as error:
        raise UsageError(f"PSDS needs sed_scores_eval ({error}): pip install 'avdetect[evaluate]'.") from error


def psds(
    curves: Sequence[ScoreCurve],
    events: Sequence[Mapping[str, Sequence[Span]]],
    durations_s: Sequence[float],
    classes: Sequence[str],
) -> float:
    """PSDS of ``classes``: the area under the share of events found against false detections per hour, from 0 to 100 of
    them, over all thresholds; with ``DTC = GTC = 0.5``, and neither cross-triggers nor unevenness punished.

    It is computed from the fused scores alone, without the bundle's rules.

    Args:
        curves: one for each video.
        events: of each video, the spans of every class.
        durations_s: of each video.
        classes: which to count; each must be a class of the curves and occur in ``events``.

    Raises:
        UsageError: ``sed_scores_eval`` is not installed.
    """
    require_sed_scores_eval()
    from sed_scores_eval.base_modules.scores import create_score_dataframe
    from sed_scores_eval.intersection_based import psds as score_of

    columns = [curves[0].classes.index(name) for name in classes]
    names = [str(number) for number in range(len(curves))]
    tables = {}
    for name, curve, duration_s in zip(names, curves, durations_s, strict=True):
        scores, edges_s = curve.scores[:, columns], np.append(curve.start_s, max(duration_s, curve.end_s[-1]))
        tables[name] = create_score_dataframe(scores, np.round(edges_s, _TIME_DECIMALS), list(classes))
    truth = {
        name: [(span.start_s, span.end_s, label) for label in classes for span in spans.get(label, ())]
        for name, spans in zip(names, events, strict=True)
    }
    lengths = {name: float(tables[name]["offset"].iloc[-1]) for name in names}
    value, *_ = score_of(
        tables,
        truth,
        lengths,
        dtc_threshold=_INTERSECTION,
        gtc_threshold=_INTERSECTION,
        max_efpr=_MAX_FALSE_PER_HOUR,
        time_decimals=_TIME_DECIMALS,
    )
    return float(value)
