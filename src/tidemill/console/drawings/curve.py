"""Curves of a run's metrics over its steps, downsampled to what a chart can show, and the chart as geometry.

A run may log 10,000 points, and a chart has about 300 horizontal positions: for each position the lowest and the
highest point are kept, so that no peak is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tidemill.console.drawings.scale import ticks
from tidemill.core.record_format import Record
from tidemill.core.records.runs import MetricPoint

#: Number of horizontal positions; at most twice as many points are drawn, plus the first and the last.
PLACES = 150


class CurvePosition(Record, frozen=True):
    """A metric value at a step."""

    step: int
    value: float


class RunCurve(Record, frozen=True):
    """One metric over the steps of a run."""

    name: str
    #: Number of points, of points that are not numbers, and the points to draw.
    n: int
    unfit: int
    first: CurvePosition
    last: CurvePosition
    lowest: CurvePosition
    highest: CurvePosition
    drawn: tuple[CurvePosition, ...]
    #: `line` joins the points; `climb` holds each value until a better one follows.
    shape: str = "line"


def curves(points: Iterable[MetricPoint]) -> tuple[RunCurve, ...]:
    """One curve per metric, in order of first appearance."""
    by_name: dict[str, list[MetricPoint]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    drawn = []
    for name, found in by_name.items():
        found.sort(key=lambda point: (point.step, point.at))
        fit = [CurvePosition(step=point.step, value=point.value) for point in found if math.isfinite(point.value)]
        if fit:
            drawn.append(curve(name, fit, unfit=len(found) - len(fit)))
    return tuple(drawn)


def curve(name: str, reached: Sequence[CurvePosition], *, unfit: int = 0, shape: str = "line") -> RunCurve:
    """The curve through `reached`, ordered by step; at least one point."""
    return RunCurve(
        name=name,
        n=len(reached) + unfit,
        unfit=unfit,
        first=reached[0],
        last=reached[-1],
        lowest=min(reached, key=lambda one: one.value),
        highest=max(reached, key=lambda one: one.value),
        drawn=tuple(thinned(reached)),
        shape=shape,
    )


def thinned(reached: Sequence[CurvePosition], places: int = PLACES) -> list[CurvePosition]:
    """At most `2 * places + 2` of the points: the first, the last, and the extremes of each interval between them.

    >>> spike = [CurvePosition(step=k, value=9.0 if k == 5_001 else 0.0) for k in range(10_000)]
    >>> len(thinned(spike)) <= 302, max(one.value for one in thinned(spike))
    (True, 9.0)
    """
    if len(reached) <= 2 * places + 2:
        return list(reached)
    inner = len(reached) - 2
    kept = {0, len(reached) - 1}
    for place in range(places):
        stretch = range(1 + place * inner // places, 1 + (place + 1) * inner // places)
        kept.add(min(stretch, key=lambda k: reached[k].value))
        kept.add(max(stretch, key=lambda k: reached[k].value))
    return [reached[k] for k in sorted(kept)]


@dataclass(frozen=True)
class ChartMark:
    """A round number on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class CurveChart:
    """A curve as geometry, in the drawing's units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    path: str
    across: tuple[ChartMark, ...]
    up: tuple[ChartMark, ...]
    end_x: float
    end_y: float


def chart(one: RunCurve, width: float = 360, height: float = 190) -> CurveChart:
    """Lay a curve out; a constant metric is drawn in the middle."""
    left, right, top, bottom = 52.0, width - 14, 12.0, height - 26
    steps = [reached.step for reached in one.drawn]
    first, last = min(steps), max(steps)
    low, high = one.lowest.value, one.highest.value
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room

    def x(step: float) -> float:
        return round(left + (right - left) * ((step - first) / (last - first) if last > first else 0.5), 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * (value - low) / (high - low), 1)

    places = [(x(reached.step), y(reached.value)) for reached in one.drawn]
    return CurveChart(
        width=width, height=height, left=left, right=right, top=top, bottom=bottom,
        path=_climb(places) if one.shape == "climb" else "M" + "L".join(f"{px:g} {py:g}" for px, py in places),
        across=tuple(ChartMark(x(step), f"{step:,.0f}") for step in ticks(first, last) if step == int(step)),
        up=tuple(ChartMark(y(value), short(value)) for value in ticks(low, high)),
        end_x=places[-1][0], end_y=places[-1][1],
    )  # fmt: skip


def _climb(places: Sequence[tuple[float, float]]) -> str:
    parts = [f"M{places[0][0]:g} {places[0][1]:g}"]
    for px, py in places[1:]:
        parts.append(f"H{px:g}V{py:g}")
    return "".join(parts)


def short(value: float) -> str:
    """A number with at most four significant digits.

    >>> short(0.07125), short(12345.0), short(1e-7), short(-2.0)
    ('0.07125', '12,345', '1e-07', '−2')
    """
    size = abs(value)
    text = f"{size:,.0f}" if 1000 <= size < 1e7 else f"{size:.4g}"
    return f"\u2212{text}" if value < 0 else text
