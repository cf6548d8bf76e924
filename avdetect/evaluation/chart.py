"""Line charts as SVG: no script, sharp at any size, coloured by the page's style."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Series", "line_chart"]

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
