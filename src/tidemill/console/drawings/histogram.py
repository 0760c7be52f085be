"""Histogram of a numeric column as geometry: one vertical bar per bin."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.console.drawings.curve import ChartMark, short
from tidemill.console.drawings.scale import ticks
from tidemill.core.clock import from_micros
from tidemill.core.formatting import day
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.features.distribution import Distribution

WIDTH, HEIGHT = 360.0, 120.0
_DAY_US = 86_400_000_000
_LEFT, _RIGHT, _TOP, _BOTTOM = 8.0, 352.0, 8.0, 96.0


@dataclass(frozen=True)
class HistogramBar:
    """One bin; `few` if it has rows, but too few to be shown."""

    x: float
    y: float
    width: float
    height: float
    few: bool


@dataclass(frozen=True)
class HistogramPlot:
    """All bins, in the drawing's units."""

    pillars: tuple[HistogramBar, ...]
    across: tuple[ChartMark, ...]
    bottom: float = _BOTTOM
    left: float = _LEFT
    right: float = _RIGHT
    width: float = WIDTH
    height: float = HEIGHT


def histogram(given: Distribution, *, is_time: bool = False) -> HistogramPlot | None:
    """Lay a histogram out; `None` for values without bins. `is_time`: its values are UTC microseconds.

    A bin with too few rows to be shown is drawn with half the height of the smallest count that may be shown.
    """
    if not given.stretches:
        return None
    most = max(one.n or 0 for one in given.stretches) or 1
    low, high = given.stretches[0].low, given.stretches[-1].high

    def x(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 2)

    pillars = []
    for one in given.stretches:
        share = (FEWEST_USERS / 2 if one.n is None else one.n) / most
        tall = round(max((_BOTTOM - _TOP) * min(share, 1.0), 1.5 if share else 0.0), 2)
        width = round(x(one.high) - x(one.low) - 1.5, 2)
        pillars.append(HistogramBar(x(one.low), round(_BOTTOM - tall, 2), width, tall, one.n is None))
    if is_time:
        places = (low + (high - low) * part for part in (0.12, 0.5, 0.88))
        marks = tuple(ChartMark(x(value), _moment(value, high - low)) for value in places)
    else:
        shown = [value for value in ticks(low, high) if _LEFT + 8 < x(value) < _RIGHT - 8]
        marks = tuple(ChartMark(x(value), short(value)) for value in shown)
    return HistogramPlot(tuple(pillars), marks)


def _moment(at: float, width: float) -> str:
    """A time on an axis of this width: the day, or the time of day."""
    return day(int(at)) if width > 2 * _DAY_US else f"{from_micros(int(at)):%H:%M}"
