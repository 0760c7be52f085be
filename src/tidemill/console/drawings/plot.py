"""Plots of points with 95% intervals as geometry: calibration curves and learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidemill.console.drawings.curve import ChartMark, short
from tidemill.console.drawings.scale import ticks
from tidemill.core.records.assessment import CalibrationBin, CurvePoint
from tidemill.core.records.quality import Metric

_LEFT, _TOP, _EDGE, _FOOT = 54.0, 12.0, 14.0, 30.0


@dataclass(frozen=True)
class IntervalDot:
    """A point with its interval, in the drawing's units."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class IntervalPlot:
    """A plot of points; `path` joins them, `diagonal` marks equality of both axes; each is empty if not drawn."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    dots: tuple[IntervalDot, ...]
    path: str
    diagonal: str
    across: tuple[ChartMark, ...]
    up: tuple[ChartMark, ...]


def calibration_plot(bins: Sequence[CalibrationBin], *, probabilities: bool) -> IntervalPlot:
    """Predicted (x) against observed (y) on the same scale, 0 to 1 for probabilities. At least one bin."""
    values = [value for one in bins for value in (one.predicted, one.observed.low, one.observed.high)]
    low, high = (0.0, 1.0) if probabilities else _room(min(values), max(values))
    return _plot(
        [(one.predicted, one.observed) for one in bins],
        (low, high),
        (low, high),
        size=(440.0, 380.0),
        across=[(value, short(value)) for value in ticks(low, high)],
        diagonal=True,
    )


def learning_plot(curve: Sequence[CurvePoint]) -> IntervalPlot:
    """The metric (y) over the number of rows (x, log scale). At least one point."""
    low, high = _room(min(one.score.low for one in curve), max(one.score.high for one in curve))
    first, last = math.log10(curve[0].n_rows or 1), math.log10(curve[-1].n_rows or 1)
    room = 0.06 * (last - first) or 0.5
    return _plot(
        [(math.log10(one.n_rows or 1), one.score) for one in curve],
        (first - room, last + room),
        (low, high),
        size=(440.0, 260.0),
        across=_thinned([(math.log10(one.n_rows or 1), f"{one.n_rows:,}") for one in curve], last - first),
        joined=True,
    )


def _room(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _thinned(marks: list[tuple[float, str]], spread: float) -> list[tuple[float, str]]:
    """The marks whose labels do not overlap, including the last one."""
    kept: list[tuple[float, str]] = []
    for mark in reversed(marks):
        if not kept or kept[-1][0] - mark[0] > 0.16 * spread:
            kept.append(mark)
    return kept


def _plot(
    points: Sequence[tuple[float, Metric]],
    wide: tuple[float, float],
    tall: tuple[float, float],
    *,
    size: tuple[float, float],
    across: Sequence[tuple[float, str]],
    diagonal: bool = False,
    joined: bool = False,
) -> IntervalPlot:
    width, height = size
    right, bottom = width - _EDGE, height - _FOOT
    x = _scale(wide, _LEFT, right)
    y = _scale(tall, bottom, _TOP)
    dots = tuple(
        IntervalDot(x(at), y(metric.value), y(max(metric.low, tall[0])), y(min(metric.high, tall[1])))
        for at, metric in points
    )
    line = "M" + "L".join(f"{dot.x:g} {dot.y:g}" for dot in dots) if joined else ""
    even = f"M{x(wide[0]):g} {y(wide[0]):g}L{x(wide[1]):g} {y(wide[1]):g}" if diagonal else ""
    return IntervalPlot(
        width=width, height=height, left=_LEFT, right=right, top=_TOP, bottom=bottom, dots=dots, path=line,
        diagonal=even, across=tuple(ChartMark(x(at), text) for at, text in across),
        up=tuple(ChartMark(y(value), short(value)) for value in ticks(*tall)),
    )  # fmt: skip


def _scale(given: tuple[float, float], first: float, last: float) -> Callable[[float], float]:
    low, high = given
    return lambda value: round(first + (last - first) * (value - low) / (high - low), 1)
