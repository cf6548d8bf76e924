"""Evaluation of a detector, and thresholds that keep its false alarms rare. Start reading at ``evaluate.evaluate``.

It needs numpy and no torch. ``docs/metrics.md`` says what each number means.
"""

from avdetect.evaluation.calibration import Calibration, calibrate
from avdetect.evaluation.evaluate import evaluate, pair_with_curves
from avdetect.evaluation.result import Evaluation
from avdetect.labels.video_list import read_labelled_videos
from avdetect.labels.videos import LabelledVideo

__all__ = [
    "Calibration",
    "Evaluation",
    "LabelledVideo",
    "calibrate",
    "evaluate",
    "pair_with_curves",
    "read_labelled_videos",
]
