"""What a person sees of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avdetect.errors import printable
from avdetect.evaluation.event_metrics import F1_IOUS
from avdetect.evaluation.result import Evaluation
from avdetect.evaluation.retrieval import TextEvaluation
from avdetect_cli.terminal.text import show_duration

__all__ = ["show_evaluation", "show_text_evaluation"]


def show_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Tables and a few lines."""
    for line in (*_material(evaluation), ""):
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    for table in _tables(evaluation):
        console.print(table)
    for line in _lines(evaluation):
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def show_text_evaluation(console: Console, result: TextEvaluation) -> None:
    """Draw a table of what the manifest allowed to measure."""
    table = Table("measure", "value", "chance", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    if result.retrieval is not None:
        ways = {"text to sound": result.retrieval.text_to_audio, "sound to text": result.retrieval.audio_to_text}
        for way, shares in ways.items():
            for k, share in shares.items():
                table.add_row(f"{way}, recall@{k}", f"{share:.3f}", f"{min(k / result.retrieval.num_tracks, 1):.3f}")
    if result.order_accuracy is not None:
        table.add_row(f"order, of {result.num_twins} tracks", f"{result.order_accuracy:.3f}", "0.500")
    if result.localisation is not None:
        found = result.localisation
        table.add_row(
            f"where, mean AP of {found.num_phrases}", f"{found.mean_average_precision:.3f}", f"{found.chance:.3f}"
        )
        table.add_row("where, AP of all together", f"{found.pooled_average_precision:.3f}", f"{found.chance:.3f}")
    for kind, answers in result.asking.items():
        if answers.num_absent:
            table.add_row(f"not heard, no result: {kind}, {answers.num_absent} times", f"{answers.quiet_share:.3f}", "")
        if answers.num_heard:
            table.add_row(f"heard, found: {kind}, {answers.num_heard} times", f"{answers.found_share:.3f}", "")
    if result.classification is not None:
        classes = result.classification
        table.add_row(f"class, of {classes.num_sounds} sounds", f"{classes.accuracy:.3f}", f"{classes.chance:.3f}")
        for name, accuracy in classes.by_class.items():
            table.add_row(Text(printable(f"  {name}")), f"{accuracy:.3f}", "")
    console.print(table)


def _material(evaluation: Evaluation) -> Iterator[str]:
    material = evaluation.material
    yield (
        f"{material.num_videos} videos, {show_duration(material.hours * 3600)}: {material.num_positive} with events "
        f"({material.num_events} with known times), {show_duration(material.normal_hours * 3600)} without any."
    )
    if evaluation.classes_not_known:
        yield f"Not known to the detector: {', '.join(evaluation.classes_not_known)}."


def _tables(evaluation: Evaluation) -> Iterator[Table]:
    frames, events = evaluation.frames, evaluation.events
    if frames is not None and events is not None:
        recalls = [f"recall {iou:g}" for iou in F1_IOUS]
        table = _table("frames", ["AP", "chance", "AUC", *recalls])
        for name, ranking in {"any event": frames.anomaly, **frames.modalities}.items():
            known = events.modality_recall.get(name) or {iou: events.alarms[iou].recall for iou in F1_IOUS}
            _row(
                table,
                name,
                [ranking.average_precision, ranking.chance, ranking.roc_auc, *(known[iou] for iou in F1_IOUS)],
            )
        yield table
    scores = ["F1 " + f"{iou:g}" for iou in F1_IOUS] if events is not None else []
    heads = ["frame AP", "AUC", *scores] if frames is not None else []
    table = _table("classes", ["video AP", *heads, "false/h"])
    for name, ranking in evaluation.videos.classes.items():
        values = [ranking.average_precision]
        if frames is not None and events is not None:
            values += [frames.classes[name].average_precision, frames.classes[name].roc_auc]
            values += [events.classes[name][iou].f1 for iou in F1_IOUS]
        _row(table, name, values, evaluation.alarms.false_per_normal_hour_by_class[name])
    yield table


def _lines(evaluation: Evaluation) -> Iterator[str]:
    frames, videos, events, alarms = evaluation.frames, evaluation.videos, evaluation.events, evaluation.alarms
    yield (
        f"videos        AP {_number(videos.anomaly.average_precision)}, AUC {_number(videos.anomaly.roc_auc)}, "
        f"mean AP of classes {_number(videos.mean_class_average_precision)}"
    )
    if frames is not None and events is not None:
        yield f"frames        mean AP of classes {_number(frames.mean_class_average_precision)}"
        for iou in F1_IOUS:
            counts = events.alarms[iou]
            yield (
                f"events {iou:g}    F1 {_number(counts.f1)} (precision {_number(counts.precision)}, recall "
                f"{_number(counts.recall)}); with the best single threshold {_number(events.best_f1[iou])}"
            )
        means = ", ".join(f"{_number(value)} at {iou:g}" for iou, value in events.mean_average_precision.items())
        yield f"mAP           {means}"
    if evaluation.psds is not None:
        yield f"PSDS          {_number(evaluation.psds)}"
    yield f"false alarms  {_number(alarms.false_per_normal_hour, 1)} per hour without events" + (
        f", {_number(alarms.false_per_hour, 1)} per hour of all" if events is not None else ""
    )
    if events is not None:
        yield (
            f"noticed       {_number(alarms.detected_share)} of the events; half of these within "
            f"{_number(alarms.median_delay_s, 1)} s, 90 % within {_number(alarms.p90_delay_s, 1)} s"
        )


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, title_justify="left")
    table.add_column(title)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _row(table: Table, name: str, values: Sequence[float], rate: float | None = None) -> None:
    cells = [_number(value) for value in values]
    table.add_row(Text(printable(name)), *cells, *([] if rate is None else [_number(rate, 1)]))


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
