"""An evaluation as a web page: one file without scripts, whose links open the videos where something went wrong."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np

from avdetect.evaluation.event_metrics import F1_IOUS
from avdetect.evaluation.ranking import PrecisionRecall
from avdetect.evaluation.result import Evaluation
from avdetect.files import replacing
from avdetect.timebase import Span

_MAX_CURVE_POINTS = 400
_FALSE_PER_HOUR_STEP = 100.0
"""The axis ends at a multiple of this: at the first, unless the bundle itself raises more."""
_UNKNOWN = "-"
_LEAD_S = 1.0
"""A link starts the video this much before what it points at."""


def write_page(path: Path, evaluation: Evaluation, *, subject: str, num_worst: int) -> None:
    """Write one self-contained page.

    Args:
        path: where; links to videos are relative to its folder.
        evaluation: what to show.
        subject: what was evaluated, on what.
        num_worst: how many false alarms and missed events to list.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    assets = resources.files("avdetect") / "assets" / "evaluation"
    page = Template((assets / "page.html").read_text("utf-8")).substitute(
        title=html.escape(f"Evaluation: {subject}"),
        css=(assets / "page.css").read_text("utf-8"),
        facts=html.escape(_facts(evaluation)),
        figures="".join(_figures(evaluation)),
        charts="".join(_charts(evaluation)),
        tables="\n".join([*_metric_tables(evaluation), *_worst_tables(evaluation, path.absolute().parent, num_worst)]),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8", newline="\n")


def _facts(evaluation: Evaluation) -> str:
    material = evaluation.material
    facts = [
        f"{material.num_videos} videos, {material.num_positive} with events",
        f"{material.hours:.2f} hours, {material.normal_hours:.2f} of them in videos without events",
        f"{material.num_events} events with known times",
    ]
    if evaluation.classes_not_known:
        facts.append(f"not known to the detector: {', '.join(evaluation.classes_not_known)}")
    return " · ".join(facts)


def _figures(evaluation: Evaluation) -> list[str]:
    alarms = evaluation.alarms
    figures = [("Video AP", _number(evaluation.videos.anomaly.average_precision))]
    if evaluation.frames is not None and evaluation.events is not None:
        anomaly = evaluation.frames.anomaly
        figures = [
            ("Frame AP", _number(anomaly.average_precision)),
            ("Frame AP of chance", _number(anomaly.chance)),
            *figures,
            *((f"Event F1 at IoU {iou:g}", _number(evaluation.events.alarms[iou].f1)) for iou in F1_IOUS),
            ("Events noticed", _number(alarms.detected_share)),
            ("Median delay", _number(alarms.median_delay_s, " s", digits=1)),
        ]
    if evaluation.psds is not None:
        figures.append(("PSDS", _number(evaluation.psds)))
    figures.append(("False alarms per normal hour", _number(alarms.false_per_normal_hour, digits=1)))
    return [f'<div class="card"><b>{value}</b><span class="muted">{name}</span></div>' for name, value in figures]


def _charts(evaluation: Evaluation) -> list[str]:
    if not evaluation.precision_recall:
        return []
    curves = [Series(name, _thinned(curve)) for name, curve in evaluation.precision_recall.items()]
    precision = line_chart(curves, x_label="recall", y_label="precision")
    num_events, hours = evaluation.material.num_events, evaluation.material.hours_with_times
    trade = sorted((point.num_false / hours, point.num_detected / num_events) for point in evaluation.points)
    alarms = evaluation.alarms
    num_steps = max(math.ceil(alarms.false_per_hour / _FALSE_PER_HOUR_STEP), 1)
    noticed = line_chart(
        [Series("one threshold for all classes", trade)],
        x_label="false alarms per hour",
        y_label="share of events noticed",
        x_max=num_steps * _FALSE_PER_HOUR_STEP,
        marked=(alarms.false_per_hour, alarms.detected_share),
    )
    return [
        f'<figure class="card" style="margin:0"><h2>Frames: precision and recall</h2>{precision}</figure>',
        '<figure class="card" style="margin:0"><h2>Events noticed, and what it costs</h2>'
        f'{noticed}<p class="muted">The circle is the bundle as it is; the line has one threshold for all classes.</p>'
        "</figure>",
    ]


def _thinned(curve: PrecisionRecall) -> list[tuple[float, float]]:
    """Choose as many points as a chart can show, evenly spread over the recall."""
    wanted = np.linspace(0.0, 1.0, _MAX_CURVE_POINTS)
    picked = np.unique(np.minimum(np.searchsorted(curve.recall, wanted), len(curve.recall) - 1))
    return list(zip(curve.recall[picked].tolist(), curve.precision[picked].tolist(), strict=True))


def _metric_tables(evaluation: Evaluation) -> list[str]:
    frames, events = evaluation.frames, evaluation.events
    tables = []
    if frames is not None and events is not None:
        rows = [
            [
                name,
                _number(ranking.average_precision),
                _number(ranking.chance),
                _number(ranking.roc_auc),
                *(_number(events.modality_recall[name][iou]) for iou in F1_IOUS),
            ]
            for name, ranking in frames.modalities.items()
        ]
        heads = ["modality", "frame AP", "chance", "AUC", *(f"recall at IoU {iou:g}" for iou in F1_IOUS)]
        tables.append(_table("By modality", heads, rows))
    rows = []
    for name, ranking in evaluation.videos.classes.items():
        row = [name, _number(ranking.average_precision), _number(ranking.roc_auc)]
        if frames is not None and events is not None:
            row += [_number(frames.classes[name].average_precision), _number(frames.classes[name].roc_auc)]
            row += [_number(events.classes[name][iou].f1) for iou in F1_IOUS]
        rows.append([*row, _number(evaluation.alarms.false_per_normal_hour_by_class[name], digits=1)])
    heads = ["class", "video AP", "video AUC"]
    if frames is not None and events is not None:
        heads += ["frame AP", "frame AUC", *(f"F1 at IoU {iou:g}" for iou in F1_IOUS)]
    return [*tables, _table("By class", [*heads, "false per normal hour"], rows)]


def _worst_tables(evaluation: Evaluation, folder: Path, num_worst: int) -> list[str]:
    if evaluation.events is None:
        return []
    false = [
        [
            _link(item.path, item.alarm.span, folder, item.video),
            _time(item.alarm.span),
            html.escape(", ".join(item.alarm.class_names)),
            _number(item.alarm.confidence),
        ]
        for item in evaluation.false_alarms[:num_worst]
    ]
    missed = [
        [
            _link(item.path, item.event.span, folder, item.video),
            _time(item.event.span),
            html.escape(item.event.class_name),
            item.event.modality,
            _number(item.highest_score),
        ]
        for item in evaluation.missed[:num_worst]
    ]
    return [
        _table("Worst false alarms", ["video", "time", "taken for", "confidence"], false),
        _table("Least noticed events", ["video", "time", "class", "modality", "highest score"], missed),
    ]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already; those that hold a number are aligned right."""
    numeric = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(heads))]
    marks = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(f"<th{mark}>{html.escape(text)}</th>" for text, mark in zip(heads, marks, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{mark}>{cell}</td>' for cell, mark in zip(row, marks, strict=True))}</tr>" for row in rows
    )
    content = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else "<p>None.</p>"
    return f'<section class="card"><h2>{html.escape(title)}</h2>{content}</section>'


def _is_number(cell: str) -> bool:
    return cell == _UNKNOWN or cell.replace(".", "").isdigit()


def _link(video: Path, span: Span, folder: Path, name: str) -> str:
    """A link that plays ``video`` at ``span``, relative to ``folder`` where there is a relative path."""
    fragment = f"#t={max(span.start_s - _LEAD_S, 0.0):.2f},{span.end_s:.2f}"
    try:
        url = quote(os.fsencode(os.path.relpath(video.absolute(), folder).replace(os.sep, "/")))
    except ValueError:  # another drive
        url = video.absolute().as_uri()
    return f'<a href="{html.escape(url)}{fragment}">{html.escape(name)}</a>'


def _time(span: Span) -> str:
    return f"{_clock(span.start_s)} to {_clock(span.end_s)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"


def _number(value: float, unit: str = "", *, digits: int = 3) -> str:
    return _UNKNOWN if math.isnan(value) else f"{value:.{digits}f}{unit}"


_WIDTH, _HEIGHT = 520, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 40
_NUM_STEPS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One line."""

    name: str
    points: Sequence[tuple[float, float]]
    """x and y, in the order they are joined."""


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    x_max: float = 1.0,
    marked: tuple[float, float] | None = None,
) -> str:
    """An SVG of ``series`` on axes from 0 to ``x_max`` and from 0 to 1, and its legend where there are several.

    Args:
        series: what to draw; points beyond ``x_max`` are cut off.
        x_label: below the x axis.
        y_label: beside the y axis.
        x_max: the end of the x axis.
        marked: a point to draw a circle around.
    """
    parts = [*_axes(x_label, y_label, x_max)]
    for number, line in enumerate(series):
        inside = [(x, y) for x, y in line.points if x <= x_max]
        points = " ".join(f"{_x(x, x_max):.1f},{_y(y):.1f}" for x, y in inside)
        parts.append(
            f'<polyline class="series-{number}" points="{points}"><title>{_text(line.name)}</title></polyline>'
        )
    if marked is not None and marked[0] <= x_max:
        parts.append(f'<circle class="now" cx="{_x(marked[0], x_max):.1f}" cy="{_y(marked[1]):.1f}" r="5"/>')
    drawing = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(y_label)}">{"".join(parts)}</svg>'
    return drawing + (_legend(series) if len(series) > 1 else "")


def _axes(x_label: str, y_label: str, x_max: float) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for step in range(_NUM_STEPS + 1):
        share = step / _NUM_STEPS
        x, y = _x(share * x_max, x_max), _y(share)
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{share * x_max:g}</text>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{_text(x_label)}</text>'
    height = (_TOP + bottom) / 2
    yield f'<text transform="translate(11 {height:.0f}) rotate(-90)" text-anchor="middle">{_text(y_label)}</text>'


def _legend(series: Sequence[Series]) -> str:
    entries = "".join(
        f'<span><svg viewBox="0 0 16 8"><polyline class="series-{number}" points="0,4 16,4"/></svg>'
        f"{_text(line.name)}</span>"
        for number, line in enumerate(series)
    )
    return f'<div class="legend">{entries}</div>'


def _x(value: float, x_max: float) -> float:
    return _LEFT + value / x_max * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return _TOP + (1.0 - value) * (_HEIGHT - _TOP - _BOTTOM)


def _text(text: str) -> str:
    return html.escape(text, quote=True)
