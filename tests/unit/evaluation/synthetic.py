"""Videos with known events and made-up scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avdetect.events.curve import ScoreCurve
from avdetect.labels.videos import LabelledVideo, TrueEvent, TrueModality
from avdetect.manifest import ClassSpec, EventRule, Manifest
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.timebase import Span

HOP_S = 0.64
RULE = EventRule(on=0.5, off=0.5, merge_gap_s=HOP_S)


def manifest(*classes: str, anomaly: Sequence[bool] | None = None, rule: EventRule = RULE) -> Manifest:
    counts = anomaly if anomaly is not None else [True] * len(classes)
    specs = tuple(ClassSpec(name=name, anomaly=each, rule=rule) for name, each in zip(classes, counts, strict=True))
    return read_manifest(default_bundle_path()).model_copy(update={"classes": specs})


def curve(name: str, classes: Sequence[str], scores: Sequence[Sequence[float]], hop_s: float = HOP_S) -> ScoreCurve:
    values = np.array(scores, np.float32).reshape(-1, len(classes))
    count = len(values)
    return ScoreCurve(
        source=name,
        classes=tuple(classes),
        anomaly_classes=(True,) * len(classes),
        start_s=np.arange(count) * hop_s,
        end_s=np.arange(1, count + 1) * hop_s,
        scores=values,
        audio_scores=values,
        visual_scores=values,
        present=np.ones((count, 2), np.bool_),
    )


def happening(start_s: float, end_s: float, label: str, modality: TrueModality = "audio") -> TrueEvent:
    span = Span(start_s, end_s)
    return TrueEvent(span, label, modality, ((label, span),))


def truth(
    name: str,
    duration_s: float,
    events: Sequence[TrueEvent] | None = (),
    *,
    classes: Sequence[str] = (),
    fps: float = 25,
) -> LabelledVideo:
    labels = {name for event in events or () for name, _ in event.parts} | set(classes)
    return LabelledVideo(
        name=name,
        where=name,
        media=Path(name),
        duration_s=duration_s,
        fps=fps,
        classes=frozenset(labels),
        positive=bool(labels),
        events=None if events is None else tuple(events),
    )
