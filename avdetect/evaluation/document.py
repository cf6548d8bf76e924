"""An evaluation as a JSON document. Within a major version of ``SCHEMA_VERSION`` fields are added, never changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from avdetect.evaluation.matching import MatchCounts
from avdetect.evaluation.result import Evaluation, FalseAlarm, Missed
from avdetect.manifest import Manifest

__all__ = ["SCHEMA_VERSION", "evaluation_document", "plain"]

SCHEMA_VERSION = "1.0"
_DIGITS = 6


def evaluation_document(
    evaluation: Evaluation, *, manifest_path: str, bundle: Manifest | None, avdetect_version: str, num_worst: int
) -> dict[str, object]:
    """All of ``evaluation`` but its curves, as values that ``json`` takes; ``None`` for what cannot be said.

    Args:
        evaluation: what to write.
        manifest_path: what was evaluated on.
        bundle: what was evaluated; ``None`` for scores of unknown origin.
        avdetect_version: of this package.
        num_worst: how many false alarms and missed events to list.
    """
    events = evaluation.events
    return {
        "schema_version": SCHEMA_VERSION,
        "avdetect": avdetect_version,
        "bundle": None if bundle is None else {"name": bundle.name, "version": bundle.version},
        "manifest": manifest_path,
        "material": plain(asdict(evaluation.material)),
        "classes_not_known": list(evaluation.classes_not_known),
        "frames": None if evaluation.frames is None else plain(asdict(evaluation.frames)),
        "videos": plain(asdict(evaluation.videos)),
        "events": None
        if events is None
        else {
            "alarms": _by_iou(events.alarms),
            "classes": {name: _by_iou(counts) for name, counts in events.classes.items()},
            "modality_recall": plain(events.modality_recall),
            "best_f1": plain(events.best_f1),
            "mean_average_precision": plain(events.mean_average_precision),
        },
        "alarms": plain(asdict(evaluation.alarms)),
        "psds": plain(evaluation.psds),
        "worst_false_alarms": [_false_alarm(item) for item in evaluation.false_alarms[:num_worst]],
        "worst_missed": [_missed(item) for item in evaluation.missed[:num_worst]],
    }


def _by_iou(counts: Mapping[float, MatchCounts]) -> dict[str, object]:
    return {
        f"{iou:g}": plain({"precision": each.precision, "recall": each.recall, "f1": each.f1, **asdict(each)})
        for iou, each in counts.items()
    }


def _false_alarm(item: FalseAlarm) -> dict[str, object]:
    alarm = item.alarm
    return {
        "video": item.video,
        "start_s": plain(alarm.span.start_s),
        "end_s": plain(alarm.span.end_s),
        "labels": list(alarm.labels),
        "confidence": plain(alarm.confidence),
    }


def _missed(item: Missed) -> dict[str, object]:
    return {
        "video": item.video,
        "start_s": plain(item.event.span.start_s),
        "end_s": plain(item.event.span.end_s),
        "label": item.event.label,
        "modality": item.event.modality,
        "highest_score": plain(item.highest_score),
    }


def plain(value: Any) -> Any:
    """``value`` with rounded numbers, ``None`` for NaN, and keys that are strings."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else f"{key:g}": plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
